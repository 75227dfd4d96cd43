package org.mobilekd.demo.screen

import android.content.ContextWrapper
import android.content.Intent
import android.os.Bundle
import java.io.File
import java.util.concurrent.CountDownLatch
import java.util.concurrent.atomic.AtomicInteger
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertSame
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.mobilekd.demo.BenchActivity
import org.mobilekd.demo.StandInEngine
import org.mobilekd.demo.answer.Json
import org.mobilekd.demo.bench.BenchEntry
import org.mobilekd.demo.bench.BenchFailed
import org.mobilekd.demo.model.EngineTrouble
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode

/**
 * What adb is answered, by the contract with mobilekd/runners/app.py; the caller reads the
 * documents once more in Python.
 */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], application = StageApplication::class)
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class BenchEntryTest {
    private val entry by lazy { BenchEntry(RuntimeEnvironment.getApplication()) }

    @After
    fun reset() {
        StageApplication.engine = { StandInEngine() }
    }

    private fun ask(vararg words: Pair<String, String>): Map<*, *> {
        val text = entry.run(mapOf(*words)::get)
        File(screenshots, "bench-${words.first().second}.json").writeText(text)
        return Json.read(text) as Map<*, *>
    }

    @Test
    fun `every mode answers with its fields`() {
        val album = File(RuntimeEnvironment.getApplication().cacheDir, "album").apply { mkdirs() }
        File(photographs, "exif6.jpg").copyTo(File(album, "a.jpg"))
        File(photographs, "alpha.png").copyTo(File(album, "b.png"))
        val inputs = File(album, "inputs.u8").apply { writeBytes(ByteArray(2 * 3 * 128 * 160)) }
        assertEquals("1.5.1", (ask("mode" to "identify")["versions"] as Map<*, *>)["executorch"])
        assertEquals(2L, ask("mode" to "golden", "inputs" to inputs.path)["count"])
        val measured =
            ask(
                "mode" to "measure",
                "samples" to "7",
                "seconds" to "0.01",
                "photographs" to album.path,
            )
        for (step in listOf("decode_ns", "resize_ns", "execute_ns", "post_ns")) {
            assertEquals(7, ((measured["pipeline"] as Map<*, *>)[step] as List<*>).size)
        }
    }

    @Test
    fun `what fails is one line`() {
        fun failure(vararg words: Pair<String, String>) =
            assertThrows(BenchFailed::class.java) { entry.run(mapOf(*words)::get) }.message
        assertEquals("mode: fast is not a fit value", failure("mode" to "fast"))
        assertEquals("inputs: the golden mode needs them", failure("mode" to "golden"))
        StageApplication.engine = { throw EngineTrouble("no such backend\nand more") }
        assertEquals("ExecuTorch: no such backend", failure("mode" to "measure"))
        StageApplication.engine = { throw OutOfMemoryError("a test's") }
        assertEquals(
            "the measurement does not fit into the app's memory",
            failure("mode" to "measure"),
        )
        StageApplication.engine = { throw IllegalStateException("a fault") }
        assertEquals("java.lang.IllegalStateException: a fault", failure("mode" to "measure"))
    }

    @Test
    fun `a long answer is a whole file, and without shared storage a line`() {
        val identify = mapOf("mode" to "identify")::get
        assertEquals(setOf("mobilekd_json"), entry.bundle(identify).keySet())
        assertEquals(
            entry.file.path,
            entry.bundle(identify, longest = 10).getString("mobilekd_file"),
        )
        assertTrue(Json.read(entry.file.readText()) is Map<*, *>)
        assertEquals(listOf("bench.json"), entry.file.parentFile!!.list()!!.toList())
        val away =
            BenchEntry(
                object : ContextWrapper(RuntimeEnvironment.getApplication()) {
                    override fun getExternalFilesDir(type: String?): File? = null
                }
            )
        away.forget()
        assertEquals(
            "the phone's shared storage is not there",
            away.bundle(identify, longest = 10).getString(BenchEntry.ERROR),
        )
    }

    @Test
    fun `a rotation neither deletes nor repeats a measurement`() {
        val gate = CountDownLatch(1)
        val opened = AtomicInteger()
        StageApplication.engine = {
            opened.incrementAndGet()
            StandInEngine {
                gate.await()
                StandInEngine.PROBABILITIES
            }
        }
        val asked =
            Intent()
                .putExtras(
                    Bundle().apply {
                        putString("mode", "measure")
                        putString("samples", "3")
                        putString("warmup_max", "0")
                    }
                )
        val controller =
            Robolectric.buildActivity(BenchActivity::class.java, asked).create().start().resume()
        val activity = controller.get()
        waitFor("the measurement") { opened.get() == 1 }
        controller.turn()
        gate.countDown()
        assertSame(activity, controller.get())
        waitFor("the file") { entry.file.exists() && activity.isFinishing }
        assertEquals(1, opened.get())
    }

    @Test
    fun `the activity leaves a whole file and goes`() {
        val asked = Intent().putExtras(Bundle().apply { putString("mode", "identify") })
        val activity = Robolectric.buildActivity(BenchActivity::class.java, asked).create().get()
        waitFor("the file") { entry.file.exists() && activity.isFinishing }
        assertTrue(Json.read(entry.file.readText()) is Map<*, *>)
    }
}
