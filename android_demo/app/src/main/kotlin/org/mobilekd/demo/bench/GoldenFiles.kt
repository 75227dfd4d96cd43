package org.mobilekd.demo.bench

import android.content.Context
import java.io.File
import java.io.IOException
import org.mobilekd.demo.answer.Json
import org.mobilekd.demo.model.Carried

/** The golden set of [carried], its inputs copied out of the APK into a file. */
fun goldenSet(context: Context, carried: Carried): GoldenSet {
    fun read(name: String) =
        context.assets.open("${carried.folder}/golden/$name").use { it.readBytes() }
    val inputs = File(context.cacheDir, "golden-${carried.folder}.u8")
    // the app's processes may both be at it, so that the file appears whole
    val part = File.createTempFile("golden", null, context.cacheDir)
    try {
        part.writeBytes(read("inputs.u8"))
        if (!part.renameTo(inputs)) throw IOException("$part cannot be renamed")
    } finally {
        part.delete()
    }
    val index = Json.read(read("golden.json").decodeToString()) as Map<*, *>
    val limit = (index["max_error"] as Number).toDouble()
    return GoldenSet(inputs, read("probabilities.f32"), limit)
}
