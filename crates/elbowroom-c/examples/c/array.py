"""A region of 1 TiB, seen as an array of numpy's: its pages are committed where the array is written."""
import ctypes
import sys

import numpy

room = ctypes.CDLL(sys.argv[1] if len(sys.argv) > 1 else "libelbowroom.so")
room.er_region_base.argtypes = [ctypes.c_void_p]
room.er_region_base.restype = ctypes.c_void_p

SIZE = 1 << 40
region = ctypes.c_void_p()
if room.er_region_new(ctypes.c_size_t(SIZE), None, ctypes.byref(region), None) != 0:
    sys.exit("there are not enough addresses")
memory = (ctypes.c_char * SIZE).from_address(room.er_region_base(region))
array = numpy.frombuffer(memory, dtype=numpy.float64)

array[123_000_000_000] = 1.5
array[456_000_000:456_001_000] = numpy.arange(1000)
print(len(array), "numbers;", array[123_000_000_000], array[456_000_000:456_001_000].sum())
# The array is not used from here on.
sys.exit(room.er_region_release(region, None))
