package org.mobilekd.demo.screen

import android.content.Intent
import android.view.View
import java.io.File
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.mobilekd.demo.R
import org.mobilekd.demo.StandInEngine
import org.mobilekd.demo.model.EngineTrouble
import org.mobilekd.demo.model.ModelStore
import org.mobilekd.demo.model.Unfit
import org.mobilekd.demo.model.UnfitModel
import org.mobilekd.demo.ui.MainActivity
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config

/** Opening model files: what is refused, what is kept, and which way out is offered. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], application = StageApplication::class, qualifiers = "w411dp-h891dp-xhdpi")
class ModelFileTest {
    private val folder by lazy { File(RuntimeEnvironment.getApplication().filesDir, "models") }

    @After
    fun reset() {
        StageApplication.engine = { StandInEngine() }
    }

    private fun start(): MainActivity = Robolectric.buildActivity(MainActivity::class.java).shown()

    private fun welcomed(activity: MainActivity) =
        waitFor("the welcome") { activity.text(R.id.message_title).startsWith("See what") }

    private fun refused(activity: MainActivity) =
        waitFor("the refusal") { activity.text(R.id.message_title) == "This model cannot be used" }

    private fun open(activity: MainActivity, name: String) {
        shadowOf(activity).clickMenuItem(R.id.menu_open)
        val asked = shadowOf(activity).nextStartedActivityForResult
        assertEquals(Intent.ACTION_OPEN_DOCUMENT, asked.intent.action)
        shadowOf(activity).receiveResult(asked.intent, -1, Intent().setData(lent(name)))
    }

    /** What the two buttons of a message offer; nothing where there is none. */
    private fun offers(activity: MainActivity) =
        listOf(R.id.message_action, R.id.message_second)
            .map(activity::text)
            .filter(String::isNotEmpty)

    /** Every model is fit but the one made of text.jpg. */
    private fun refuseText() {
        StageApplication.engine = { file ->
            if (file.readText().startsWith("not a photograph")) throw EngineTrouble("bad magic")
            else StandInEngine()
        }
    }

    @Test
    fun `an unfit file is refused with its reason and deleted, and the built-in one offered`() {
        refuseText()
        val activity = start()
        welcomed(activity)
        open(activity, "text.jpg")
        refused(activity)
        assertTrue(activity.text(R.id.message_text).endsWith("The runtime says: bad magic"))
        assertEquals(listOf("Use the built-in model", "Open another model"), offers(activity))
        assertFalse(File(folder, "candidate.pte").exists())
        activity.findViewById<View>(R.id.message_action).performClick()
        welcomed(activity)
    }

    @Test
    fun `an opened model outlives the refusal of a later one, and goes for the built-in one`() {
        refuseText()
        val activity = start()
        welcomed(activity)
        open(activity, "grey.jpg")
        waitFor("the opened model") { File(folder, "opened.pte").exists() }
        welcomed(activity)
        open(activity, "text.jpg")
        refused(activity)
        assertEquals(listOf("Use the earlier model", "Open another model"), offers(activity))
        activity.findViewById<View>(R.id.message_action).performClick()
        welcomed(activity)
        assertEquals(File(photographs, "grey.jpg").length(), File(folder, "opened.pte").length())
        shadowOf(activity).clickMenuItem(R.id.menu_built_in)
        assertFalse(File(folder, "opened.pte").exists())
        welcomed(activity)
    }

    @Test
    fun `a refused built-in model is not offered again`() {
        StageApplication.engine = { throw EngineTrouble("bad magic") }
        val activity = start()
        refused(activity)
        assertEquals(listOf("Open another model"), offers(activity))
    }

    @Test
    fun `on a processor that no model runs on, no model is offered`() {
        StageApplication.engine = { throw UnfitModel(Unfit.Processor("atomics")) }
        val activity = start()
        refused(activity)
        assertEquals(emptyList<String>(), offers(activity))
    }

    @Test
    fun `without an app for files, a refusal says so`() {
        StageApplication.engine = { throw EngineTrouble("bad magic") }
        val activity = start()
        refused(activity)
        shadowOf(RuntimeEnvironment.getApplication()).checkActivities(true)
        activity.findViewById<View>(R.id.message_second).performClick()
        val said = activity.text(R.id.message_text)
        assertTrue(
            said,
            said.contains("bad magic") &&
                said.endsWith("No app for choosing files was found on this phone."),
        )
    }

    @Test
    fun `a model that cannot be kept is not taken for kept`() {
        val store = ModelStore(RuntimeEnvironment.getApplication())
        File(folder, "opened.pte/in the way").mkdirs()
        val candidate = store.candidate(lent("grey.jpg"))
        assertEquals(
            Unfit.NotCopied,
            assertThrows(UnfitModel::class.java) { store.keep(candidate) }.reason,
        )
        store.discardCandidate()
        assertFalse(candidate.exists())
    }
}
