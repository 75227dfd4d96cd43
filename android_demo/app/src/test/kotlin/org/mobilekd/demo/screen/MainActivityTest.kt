package org.mobilekd.demo.screen

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.view.View
import android.view.ViewGroup
import android.widget.ImageView
import android.widget.Switch
import android.widget.TextView
import java.io.File
import java.io.FileOutputStream
import java.util.concurrent.CountDownLatch
import java.util.concurrent.atomic.AtomicInteger
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNotSame
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.mobilekd.demo.R
import org.mobilekd.demo.StandInEngine
import org.mobilekd.demo.model.Model
import org.mobilekd.demo.ui.BenchmarkActivity
import org.mobilekd.demo.ui.CardActivity
import org.mobilekd.demo.ui.MainActivity
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode

@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], application = StageApplication::class, qualifiers = "w411dp-h891dp-xhdpi")
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class MainActivityTest {
    @After
    fun reset() {
        StageApplication.engine = { StandInEngine() }
    }

    private fun start(intent: Intent = Intent()) =
        Robolectric.buildActivity(MainActivity::class.java, intent)

    private fun copies() =
        File(RuntimeEnvironment.getApplication().noBackupFilesDir, "photographs")
            .listFiles()
            .orEmpty()

    private fun answered(activity: MainActivity) =
        waitFor("the answer") { activity.text(R.id.headline_text).isNotEmpty() }

    @Test
    fun `a shared photograph is answered, and its copy goes with the task`() {
        val controller = start(share("lesion.jpg"))
        val activity = controller.shown()
        answered(activity)
        assertEquals("Melanocytic nevus", activity.text(R.id.headline_text))
        assertTrue(activity.text(R.id.headline_under).startsWith("70.8%"))
        assertEquals(7, activity.findViewById<ViewGroup>(R.id.classes).childCount)
        assertEquals(1, copies().size)
        controller.pause().stop()
        activity.finish()
        controller.destroy()
        waitFor("the copy's end") { copies().isEmpty() }
    }

    @Test
    fun `the menu shows what the app holds of others, with the text of each licence`() {
        val activity = start().shown()
        shadowOf(activity).clickMenuItem(R.id.menu_notices)
        val intent = shadowOf(activity).nextStartedActivity
        val page = Robolectric.buildActivity(CardActivity::class.java, intent).shown()
        assertEquals(activity.getString(R.string.notices), page.title)
        val column = page.findViewById<ViewGroup>(R.id.column)
        assertEquals("its heading is to be seen", 0, (column.parent as View).scrollY)
        val shown =
            (0 until column.childCount).associate { index ->
                val card = column.getChildAt(index)
                fun text(id: Int) = card.findViewById<TextView>(id).text.toString()
                text(R.id.section_title) to text(R.id.section_text)
            }
        val held = shown.getValue("What this app holds of others")
        assertTrue(held.contains("kotlin-stdlib 2.1.0: Apache-2.0"))
        for (licence in listOf("Apache-2.0", "BSD-3-Clause", "CC-BY-NC-4.0", "MIT", "MPL-2.0"))
            assertTrue(licence, shown.getValue(licence).length > 500)
    }

    @Test
    fun `a rotation keeps photograph and answer and does not look again`() {
        val runs = AtomicInteger()
        StageApplication.engine = {
            StandInEngine {
                runs.incrementAndGet()
                StandInEngine.PROBABILITIES
            }
        }
        val controller = start(share("lesion.jpg"))
        val upright = controller.shown()
        answered(upright)
        val before = runs.get()
        controller.turn()
        assertNotSame(upright, controller.visible().get())
        answered(controller.get())
        assertEquals("Melanocytic nevus", controller.get().text(R.id.headline_text))
        assertEquals(before, runs.get())
    }

    @Test
    fun `process death keeps photograph and answer`() {
        val runs = AtomicInteger()
        StageApplication.engine = {
            StandInEngine {
                runs.incrementAndGet()
                StandInEngine.UNSURE
            }
        }
        val first = start(share("lesion.jpg"))
        answered(first.shown())
        val state = Bundle()
        first.saveInstanceState(state).pause().stop().destroy()
        runs.set(0)
        val second = start().create(state).start().restoreInstanceState(state).resume().visible()
        answered(second.get())
        assertEquals("Not sure", second.get().text(R.id.headline_text))
        assertEquals("only the probe of the freshly loaded model", 1, runs.get())
    }

    @Test
    fun `a cancelled run waits and can be taken up`() {
        val gate = CountDownLatch(1)
        val entered = AtomicInteger()
        StageApplication.engine = {
            StandInEngine {
                if (entered.incrementAndGet() == 2) gate.await()
                StandInEngine.PROBABILITIES
            }
        }
        val activity = start(share("lesion.jpg")).shown()
        waitFor("the model") { entered.get() == 2 }
        waitFor("the photograph") { activity.findViewById<View>(R.id.photograph).isShown }
        activity.findViewById<View>(R.id.message_second).performClick()
        gate.countDown()
        assertEquals("Stopped", activity.text(R.id.message_title))
        activity.findViewById<View>(R.id.message_action).performClick()
        answered(activity)
    }

    @Test
    fun `a screen that goes stops the run, and takes it up when it is back`() {
        val gate = CountDownLatch(1)
        val entered = AtomicInteger()
        StageApplication.engine = {
            StandInEngine {
                if (entered.incrementAndGet() == 2) gate.await()
                StandInEngine.PROBABILITIES
            }
        }
        val controller = start(share("lesion.jpg"))
        val activity = controller.shown()
        waitFor("the model") { entered.get() == 2 }
        waitFor("the photograph") { activity.findViewById<View>(R.id.photograph).isShown }
        controller.pause().stop()
        gate.countDown()
        assertEquals("Stopped", activity.findViewById<TextView>(R.id.message_title).text.toString())
        controller.restart().start().resume()
        answered(activity)
    }

    @Test
    fun `broken photographs are sentences`() {
        for (name in listOf("truncated.jpg", "truncated.png", "text.jpg", "empty.jpg")) {
            val activity = start(share(name)).shown()
            waitFor(name) { activity.text(R.id.message_title) == "That did not work" }
            assertTrue(
                name,
                activity
                    .text(R.id.message_text)
                    .startsWith("This file cannot be read as a photograph."),
            )
        }
        val activity = start(share("no such file.jpg")).shown()
        waitFor("the sentence") {
            activity.text(R.id.message_text).startsWith("The photograph could not be fetched.")
        }
    }

    @Test
    fun `a share without a photograph is a sentence, once the model is there`() {
        val activity = start(Intent(Intent.ACTION_SEND).setType("image/*")).shown()
        waitFor("the sentence") {
            activity.text(R.id.message_text).startsWith("The photograph could not be fetched.")
        }
        assertEquals("That did not work", activity.text(R.id.message_title))
    }

    @Test
    fun `too little memory is a sentence`() {
        StageApplication.engine = {
            val asked = AtomicInteger()
            StandInEngine {
                if (asked.incrementAndGet() > 1) throw OutOfMemoryError("a test's")
                StandInEngine.PROBABILITIES
            }
        }
        val activity = start(share("lesion.jpg")).shown()
        waitFor("the sentence") {
            activity.text(R.id.message_text).startsWith("This photograph needs more memory")
        }
    }

    @Test
    fun `a huge photograph is answered`() {
        val activity = start(share("huge.jpg")).shown()
        answered(activity)
        assertTrue(
            activity.findViewById<View>(R.id.photograph).contentDescription.contains("8000 by 6000")
        )
    }

    @Test
    fun `a model that answers nonsense gives a sentence, never a result`() {
        StageApplication.engine = {
            val asked = AtomicInteger()
            StandInEngine {
                if (asked.incrementAndGet() > 1) FloatArray(7) { Float.NaN }
                else StandInEngine.PROBABILITIES
            }
        }
        val activity = start(share("lesion.jpg")).shown()
        waitFor("the sentence") {
            activity.text(R.id.message_text).startsWith("The model’s answer makes no sense")
        }
    }

    @Test
    fun `the camera is lent one file and its photograph is answered`() {
        val activity = start().shown()
        waitFor("the welcome") { activity.text(R.id.message_title).startsWith("See what") }
        activity.findViewById<View>(R.id.camera).performClick()
        val asked = shadowOf(activity).nextStartedActivityForResult
        val uri = asked.intent.clipData!!.getItemAt(0).uri
        activity.contentResolver.acquireContentProviderClient(uri)!!.use { camera ->
            val taken = File(photographs, "lesion.jpg").readBytes()
            camera.openFile(uri, "w")!!.use { FileOutputStream(it.fileDescriptor).write(taken) }
        }
        shadowOf(activity).receiveResult(asked.intent, -1, null)
        answered(activity)
    }

    @Test
    fun `without a camera app that is said, and no empty file stays`() {
        val activity = start().shown()
        waitFor("the welcome") { activity.text(R.id.message_title).startsWith("See what") }
        shadowOf(RuntimeEnvironment.getApplication()).checkActivities(true)
        activity.findViewById<View>(R.id.camera).performClick()
        assertTrue(activity.text(R.id.message_text).startsWith("No camera app was found."))
        assertEquals(0, copies().size)
    }

    @Test
    @Config(qualifiers = "ar-ldrtl-w411dp-h891dp-xhdpi")
    fun `an English sentence keeps its own numerals on an Arabic phone`() {
        val activity = start(share("lesion.jpg")).shown()
        answered(activity)
        assertTrue(
            activity.text(R.id.headline_under),
            activity.text(R.id.headline_under).startsWith("70.8% probability"),
        )
        val said = activity.findViewById<View>(R.id.photograph).contentDescription
        assertTrue("$said", said.contains("1200 by 1600"))
    }

    @Test
    fun `where the model looked is offered beside the photograph, if the model says it`() {
        val activity = start(share("lesion.jpg")).shown()
        answered(activity)
        assertEquals("The frame is the part that the model sees.", activity.text(R.id.caption))
        activity.findViewById<Switch>(R.id.attention).performClick()
        assertEquals("Orange is where the model looked, roughly.", activity.text(R.id.caption))
        assertTrue(
            activity
                .findViewById<View>(R.id.photograph)
                .contentDescription
                .contains("where the model looked")
        )
        StageApplication.engine = {
            StandInEngine(
                attention = false,
                constants = StandInEngine.CONSTANTS + ("outputs" to listOf("probabilities")),
            )
        }
        val without = start(share("lesion.jpg")).shown()
        answered(without)
        assertFalse(without.findViewById<View>(R.id.attention).isShown)
    }

    @Test
    fun `every control is named and large enough to touch`() {
        val welcome = start().shown()
        waitFor("the welcome") { welcome.text(R.id.message_title).startsWith("See what") }
        controlsAreNamedAndLarge(welcome)
        val activity = start(share("lesion.jpg")).shown()
        answered(activity)
        controlsAreNamedAndLarge(activity)
        assertTrue(
            activity
                .findViewById<View>(R.id.photograph)
                .contentDescription
                .startsWith("Your photograph.")
        )
        controlsAreNamedAndLarge(Robolectric.buildActivity(BenchmarkActivity::class.java).shown())
        val spec = Model.load(File("none")) { StandInEngine() }.spec
        controlsAreNamedAndLarge(
            Robolectric.buildActivity(CardActivity::class.java, CardActivity.intent(activity, spec))
                .shown()
        )
    }

    private fun controlsAreNamedAndLarge(activity: Activity) {
        val least = 48 * activity.resources.displayMetrics.density
        fun walk(view: View) {
            if (!view.isShown) return
            val name = view.contentDescription ?: (view as? TextView)?.text
            if (view.isClickable && (view as? TextView)?.isTextSelectable != true) {
                assertFalse("$view has no name", name.isNullOrBlank())
                assertTrue(
                    "$view is ${view.width} x ${view.height}",
                    view.height >= least && view.width >= least,
                )
            }
            if (view is ImageView && view.isImportantForAccessibility)
                assertFalse("$view has no name", view.contentDescription.isNullOrBlank())
            if (view is ViewGroup)
                for (index in 0 until view.childCount) walk(view.getChildAt(index))
        }
        walk(activity.findViewById(android.R.id.content))
    }
}
