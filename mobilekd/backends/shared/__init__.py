"""What several backends share: the way into a ``.pte``, what both Core ML backends need of
coremltools, what operators cost, XNNPACK's quantizer.

Add here what a second backend would otherwise repeat; nothing here is a backend itself. Never
imports a backend.
"""
