package org.mobilekd.demo.model

import java.io.Closeable

/** One output of the model: its shape and its values in C order. */
class Output(val shape: List<Int>, val values: FloatArray)

/**
 * A loaded model file. The app has one implementation, [ExecuTorchEngine]; everything else only
 * sees this.
 */
interface Engine : Closeable {
    /** Names of the methods in the file: `forward`, and constants. */
    val methods: Set<String>

    /**
     * What the constant method [name] holds: String, Long, Double, Boolean, FloatArray or LongArray
     * values.
     */
    fun constant(name: String): List<Any>

    /** Read the weights and plan the memory now rather than in the first [forward]. */
    fun prepare()

    /** Run the model on a float32 [input] of [shape]. */
    fun forward(input: FloatArray, shape: LongArray): List<Output>
}

/** The runtime could not load or run the file; [detail] is in its own words, for a bug report. */
class EngineTrouble(val detail: String, cause: Throwable? = null) : Exception(detail, cause)
