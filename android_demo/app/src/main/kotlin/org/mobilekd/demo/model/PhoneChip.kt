package org.mobilekd.demo.model

import android.os.Build
import java.io.IOException

/** The chip of the phone that this runs on. */
fun phoneChip(): Chip =
    Chip.of(
        if (Build.VERSION.SDK_INT >= 31) Build.SOC_MANUFACTURER to Build.SOC_MODEL else null,
        ::systemProperty,
    )

/** Empty where the phone has no property of that [name], or does not show it to apps. */
private fun systemProperty(name: String): String =
    try {
        val asked = ProcessBuilder("getprop", name).start()
        asked.inputStream.use { it.readBytes().decodeToString().trim() }
    } catch (_: IOException) {
        ""
    }
