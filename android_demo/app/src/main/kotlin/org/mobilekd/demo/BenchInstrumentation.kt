package org.mobilekd.demo

import android.app.Activity
import android.app.Instrumentation
import android.os.Bundle
import org.mobilekd.demo.bench.BenchEntry

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
        val result = BenchEntry(targetContext).bundle(arguments::getString)
        finish(
            if (result.containsKey(BenchEntry.ERROR)) Activity.RESULT_CANCELED
            else Activity.RESULT_OK,
            result,
        )
    }
}
