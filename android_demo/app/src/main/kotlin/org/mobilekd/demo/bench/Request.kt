package org.mobilekd.demo.bench

import java.io.File

/** What one fresh process is asked to do; the words come from `adb shell` as strings. */
enum class Mode {
    IDENTIFY,
    GOLDEN,
    MEASURE,
}

/**
 * One benchmark call.
 *
 * @property model null: the model inside the APK
 * @property inputs raw uint8 `[N, 3, H, W]`
 * @property photographs a folder of JPEG and PNG files for the app's whole path
 */
data class Request(
    val mode: Mode,
    val threads: Int = 1,
    val samples: Int = 200,
    val warmupMax: Int = 200,
    val seconds: Double = 0.0,
    val model: File? = null,
    val inputs: File? = null,
    val photographs: File? = null,
) {
    companion object {
        /** Read by name; [IllegalArgumentException] names the first wrong word. */
        fun read(value: (String) -> String?): Request {
            fun <T> of(key: String, default: T, convert: (String) -> T?): T {
                val text = value(key).orEmpty()
                if (text.isEmpty()) return default
                return requireNotNull(convert(text)) { "$key: $text is not a fit value" }
            }
            fun count(key: String, default: Int, least: Int) =
                of(key, default) { text -> text.toIntOrNull()?.takeIf { it >= least } }
            fun file(key: String) = of<File?>(key, null, ::File)
            return Request(
                mode =
                    of("mode", Mode.MEASURE) { text ->
                        Mode.entries.find { it.name.lowercase() == text }
                    },
                threads = count("threads", 1, 1),
                samples = count("samples", 200, 1),
                warmupMax = count("warmup_max", 200, 0),
                seconds =
                    of("seconds", 0.0) { text ->
                        text.toDoubleOrNull()?.takeIf { it.isFinite() && it >= 0 }
                    },
                model = file("model"),
                inputs = file("inputs"),
                photographs = file("photographs"),
            )
        }
    }
}
