"""LiteRT's converter at work, in an environment of its own, which holds none of this package:

    python litert_worker.py PROGRAM.pt2 FILE.tflite fp32|int8

Run as a script by ``litert_converter``. The program is an exported one of torch.
"""

import sys


def main(program: str, file: str, precision: str) -> None:
    """Convert, and write the file."""
    import litert_torch
    import torch
    import torch.ao.quantization.fx._decomposed  # operators that the program names
    from litert_torch.quantize import pt2e_quantizer, quant_config

    exported = torch.export.load(program)
    examples, _ = exported.example_inputs
    config = None
    if precision == "int8":
        # the program is quantised already: this only says that its quantise nodes are to be obeyed
        symmetric = pt2e_quantizer.get_symmetric_quantization_config(is_per_channel=True)
        config = quant_config.QuantConfig(
            pt2e_quantizer=pt2e_quantizer.PT2EQuantizer().set_global(symmetric)
        )
    litert_torch.convert(exported.module(), examples, quant_config=config).export(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
