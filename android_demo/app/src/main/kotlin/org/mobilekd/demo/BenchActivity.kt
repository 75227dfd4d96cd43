package org.mobilekd.demo

import android.app.Activity
import android.os.Bundle
import org.mobilekd.demo.answer.Json
import org.mobilekd.demo.bench.Bench
import org.mobilekd.demo.bench.BenchEntry
import org.mobilekd.demo.bench.BenchFailed
import java.io.File
import kotlin.concurrent.thread

/** `adb shell am start`, for phones whose maker refuses `am instrument`: the answer is a file that the shell can pull. */
class BenchActivity : Activity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        val entry = BenchEntry(this)
        entry.file.delete()
        thread {
            val document = try {
                entry.run(intent::getStringExtra)
            } catch (error: BenchFailed) {
                Json.write(mapOf("mobilekd_app" to Bench.CONTRACT, "error" to error.message))
            }
            val part = File(entry.file.path + ".part")
            part.writeText(document)
            part.renameTo(entry.file)
            runOnUiThread(::finish)
        }
    }
}
