"""Products and attention by the fastest exact kernel that the processor has; on anything but a CPU, those of PyTorch.

PyTorch multiplies float32 matrices with MKL, which is slow on processors that are not Intel's. oneDNN, which comes with
PyTorch as well, does the same sums at the rate of the machine. Which of them is taken is measured; see `choices`.
"""
