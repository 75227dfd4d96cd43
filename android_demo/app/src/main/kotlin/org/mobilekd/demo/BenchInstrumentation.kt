package org.mobilekd.demo

import android.app.Activity
import android.app.Instrumentation
import android.os.Bundle
import org.mobilekd.demo.bench.BenchEntry
import org.mobilekd.demo.bench.BenchFailed
import java.util.Base64

/** `adb shell am instrument -w`: one call, one fresh process, one answer on standard output. */
class BenchInstrumentation : Instrumentation() {
    private lateinit var arguments: Bundle

    override fun onCreate(arguments: Bundle?) {
        super.onCreate(arguments)
        this.arguments = arguments ?: Bundle()
        start()
    }

    override fun onStart() {
        super.onStart()
        val result = Bundle()
        val entry = BenchEntry(targetContext)
        try {
            val document = entry.run(arguments::getString)
            val packed = Base64.getEncoder().encodeToString(document.toByteArray())
            if (packed.length <= LONGEST) {
                result.putString("mobilekd_json", packed)
            } else {
                entry.file.writeText(document)
                result.putString("mobilekd_file", entry.file.path)
            }
            finish(Activity.RESULT_OK, result)
        } catch (error: BenchFailed) {
            result.putString("mobilekd_error", error.message)
            finish(Activity.RESULT_CANCELED, result)
        }
    }

    private companion object {
        /** Characters; what a Bundle carries to the shell is limited. */
        const val LONGEST = 200_000
    }
}
