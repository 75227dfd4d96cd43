package org.mobilekd.demo.bench

import android.app.ActivityManager
import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.os.BatteryManager
import android.os.Build
import android.os.PowerManager
import java.io.File
import java.time.Instant
import java.time.temporal.ChronoUnit

/**
 * What the phone tells about itself, named as in the measurement schema; null where it does not
 * tell.
 */
class Phone(private val context: Context) {
    fun device(): Map<String, Any?> {
        val memory = ActivityManager.MemoryInfo()
        context.getSystemService(ActivityManager::class.java).getMemoryInfo(memory)
        val soc =
            if (Build.VERSION.SDK_INT >= 31) "${Build.SOC_MANUFACTURER} ${Build.SOC_MODEL}"
            else Build.HARDWARE
        return mapOf(
            "id" to
                "${Build.MANUFACTURER}-${Build.MODEL}"
                    .lowercase()
                    .replace(Regex("[^a-z0-9]+"), "-")
                    .trim('-'),
            "kind" to "adb",
            "maker" to Build.MANUFACTURER,
            "model" to Build.MODEL,
            "soc" to soc,
            "os" to "Android ${Build.VERSION.RELEASE} (API ${Build.VERSION.SDK_INT})",
            "abi" to Build.SUPPORTED_ABIS.firstOrNull().orEmpty(),
            "cpu_features" to features(),
            "cores" to Runtime.getRuntime().availableProcessors(),
            "memory_bytes" to memory.totalMem,
            "emulated" to (Build.HARDWARE in setOf("ranchu", "goldfish", "cutf_cvm")),
        )
    }

    fun conditions(): Map<String, Any?> {
        val battery = context.registerReceiver(null, IntentFilter(Intent.ACTION_BATTERY_CHANGED))
        val temperature =
            battery?.getIntExtra(BatteryManager.EXTRA_TEMPERATURE, Int.MIN_VALUE)?.takeIf {
                it != Int.MIN_VALUE
            }
        val level = battery?.getIntExtra(BatteryManager.EXTRA_LEVEL, -1)?.takeIf { it >= 0 }
        val scale = battery?.getIntExtra(BatteryManager.EXTRA_SCALE, 100) ?: 100
        val power = context.getSystemService(PowerManager::class.java)
        return mapOf(
            "utc" to utcNow(),
            "battery_celsius" to temperature?.let { it / 10.0 },
            "battery_percent" to level?.let { 100.0 * it / scale },
            "charging" to battery?.let { it.getIntExtra(BatteryManager.EXTRA_PLUGGED, 0) != 0 },
            "thermal_status" to
                if (Build.VERSION.SDK_INT >= 29) power.currentThermalStatus else null,
            "screen_on" to power.isInteractive,
        )
    }

    private fun features(): List<String> =
        File("/proc/cpuinfo")
            .takeIf(File::canRead)
            ?.useLines { lines ->
                lines
                    .firstOrNull { it.startsWith("Features") }
                    ?.substringAfter(':')
                    ?.trim()
                    ?.split(' ')
            }
            .orEmpty()

    companion object {
        /** ISO 8601, seconds, Z. */
        fun utcNow(): String = Instant.now().truncatedTo(ChronoUnit.SECONDS).toString()
    }
}
