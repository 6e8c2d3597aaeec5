"""The types of numbers that carry integers exactly on this machine."""

import torch

from nncodec.entropy.products import EXACT, bytes_are_exact

CARRIERS = [carrier for carrier in EXACT if carrier != torch.int8 or bytes_are_exact()]
BYTES = torch.int8 in CARRIERS
