package org.pytorch.executorch

import java.io.Closeable

/* The part of org.pytorch:executorch-android 1.5 that the app uses: signatures only. */

enum class DType {
    FLOAT,
    INT64,
}

abstract class Tensor {
    abstract fun dtype(): DType

    fun shape(): LongArray = LongArray(0)

    open fun getDataAsFloatArray(): FloatArray = FloatArray(0)

    open fun getDataAsLongArray(): LongArray = LongArray(0)

    companion object {
        @JvmStatic
        fun fromBlob(data: FloatArray, shape: LongArray): Tensor =
            throw UnsupportedOperationException("${data.size} ${shape.size}")
    }
}

class EValue private constructor() {
    fun isTensor(): Boolean = false

    fun isBool(): Boolean = false

    fun isInt(): Boolean = false

    fun isDouble(): Boolean = false

    fun isString(): Boolean = false

    fun toTensor(): Tensor = throw UnsupportedOperationException()

    fun toBool(): Boolean = false

    fun toInt(): Long = 0

    fun toDouble(): Double = 0.0

    fun toStr(): String = ""

    companion object {
        @JvmStatic
        fun from(tensor: Tensor): EValue = throw UnsupportedOperationException(tensor.toString())
    }
}

open class Module private constructor() : Closeable {
    open fun forward(vararg inputs: EValue): Array<EValue> = execute("forward", *inputs)

    open fun execute(methodName: String, vararg inputs: EValue): Array<EValue> =
        throw UnsupportedOperationException("$methodName ${inputs.size}")

    open fun loadMethod(methodName: String): Unit = throw UnsupportedOperationException(methodName)

    open fun getMethods(): Array<String> = emptyArray()

    open fun destroy() = Unit

    override fun close() = destroy()

    companion object {
        const val LOAD_MODE_FILE = 0
        const val LOAD_MODE_MMAP = 1

        @JvmStatic
        @JvmOverloads
        fun load(modelPath: String?, loadMode: Int = LOAD_MODE_FILE, numThreads: Int = 0): Module =
            throw UnsupportedOperationException("$modelPath $loadMode $numThreads")
    }
}
