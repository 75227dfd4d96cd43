package org.mobilekd.demo

import android.app.Activity
import android.os.Bundle
import android.util.Log
import kotlin.concurrent.thread
import org.mobilekd.demo.bench.BenchEntry
import org.mobilekd.demo.bench.BenchFailed

/**
 * `adb shell am start`, for phones whose maker refuses `am instrument`: the answer is a file that
 * the shell can pull.
 */
class BenchActivity : Activity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        val entry = BenchEntry(this)
        entry.forget()
        thread {
            try {
                entry.write(entry.document(intent::getStringExtra))
            } catch (error: BenchFailed) { // no file can be written: the log is all that is left
                Log.e("mobilekd", error.message.orEmpty())
            }
            runOnUiThread(::finish)
        }
    }
}
