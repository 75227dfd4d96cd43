package org.mobilekd.demo.model

import java.io.File
import org.pytorch.executorch.DType
import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor

/**
 * The one class that touches ExecuTorch. Compiles against the official Android package (1.0 to 1.5,
 * Java or Kotlin) and against the community build. The runtime's pool of threads is one per process
 * and is set while loading, so a process that wants another number closes what it holds first.
 *
 * @param threads 0 leaves the number to the runtime
 */
class ExecuTorchEngine(file: File, threads: Int = 0) : Engine {
    private val module: Module = trouble { Module.load(file.path, Module.LOAD_MODE_MMAP, threads) }

    override val methods: Set<String> = trouble { module.getMethods().toSet() }

    override fun constant(name: String): List<Any> = trouble { module.execute(name).map(::plain) }

    override fun prepare() {
        trouble { module.loadMethod("forward") }
    }

    override fun forward(input: FloatArray, shape: LongArray): List<Output> = trouble {
        module.forward(EValue.from(Tensor.fromBlob(input, shape))).map { value ->
            if (!value.isTensor()) throw EngineTrouble("an output is not a tensor")
            val tensor = value.toTensor()
            if (tensor.dtype() != DType.FLOAT)
                throw EngineTrouble("an output is ${tensor.dtype()}, not float32")
            Output(tensor.shape().map { it.toInt() }, tensor.getDataAsFloatArray())
        }
    }

    override fun close() = module.destroy()

    private fun plain(value: EValue): Any =
        when {
            value.isString() -> value.toStr()
            value.isBool() -> value.toBool()
            value.isInt() -> value.toInt()
            value.isDouble() -> value.toDouble()
            value.isTensor() -> plain(value.toTensor())
            else -> throw EngineTrouble("a constant of an unknown kind")
        }

    private fun plain(tensor: Tensor): Any =
        when (tensor.dtype()) {
            DType.FLOAT -> tensor.getDataAsFloatArray()
            DType.INT64 -> tensor.getDataAsLongArray()
            else -> throw EngineTrouble("a constant tensor of ${tensor.dtype()}")
        }

    /**
     * The runtime throws what it likes: its own exceptions, IllegalStateException, C++ ones behind
     * JNI, and link errors.
     */
    private fun <T> trouble(action: () -> T): T =
        try {
            action()
        } catch (error: EngineTrouble) {
            throw error
        } catch (error: RuntimeException) {
            throw EngineTrouble(error.message ?: error.javaClass.simpleName, error)
        } catch (error: LinkageError) {
            throw EngineTrouble(error.message ?: error.javaClass.simpleName, error)
        }
}
