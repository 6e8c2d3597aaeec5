"""Files that tell a desktop what a .cae file is: data only, installed by ``nncodec desktop``."""
