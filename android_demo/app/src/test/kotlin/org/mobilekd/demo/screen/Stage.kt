package org.mobilekd.demo.screen

import android.app.Activity
import android.content.Intent
import android.content.res.Configuration
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Rect
import android.net.Uri
import android.os.Looper
import android.view.View
import android.view.ViewGroup
import android.widget.HorizontalScrollView
import android.widget.ScrollView
import android.widget.TextView
import java.io.File
import java.time.Duration
import org.mobilekd.demo.DemoApplication
import org.mobilekd.demo.StandInEngine
import org.mobilekd.demo.host.loadAndroidLibraries
import org.mobilekd.demo.model.Engine
import org.mobilekd.demo.model.ExecuTorchEngine
import org.mobilekd.demo.model.Output
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.android.controller.ActivityController

/** The app with an engine that the test chooses, for what no real model does. */
class StageApplication : DemoApplication() {
    override fun openEngine(file: File, threads: Int): Engine = engine(file)

    companion object {
        var engine: (File) -> Engine = { StandInEngine() }
    }
}

/**
 * The app as it is, on Android's own libraries in this JVM, for pictures without an invented
 * number; [open] may be spoilt.
 */
class PictureApplication : DemoApplication() {
    override fun openEngine(file: File, threads: Int): Engine = open(file, threads)

    companion object {
        var open: (File, Int) -> Engine = ::ExecuTorchEngine

        init {
            loadAndroidLibraries(System.getProperty("mobilekd.shim"))
        }
    }
}

/**
 * [engine], with [meddle] between it and whoever asks, and [constants] in place of its own of those
 * names.
 */
class MeddledEngine(
    private val engine: Engine,
    private val constants: Map<String, List<Any>> = emptyMap(),
    private val meddle: (() -> List<Output>) -> List<Output>,
) : Engine by engine {
    override fun constant(name: String): List<Any> = constants[name] ?: engine.constant(name)

    override fun forward(input: FloatArray, shape: LongArray): List<Output> = meddle {
        engine.forward(input, shape)
    }
}

/**
 * Where the photographs for the tests lie, and where screenshots go (both given by the test's
 * caller).
 */
val photographs = File(System.getProperty("mobilekd.photographs"))
val screenshots = File(System.getProperty("mobilekd.screenshots"))

/**
 * The address under which another app hands over one of the test's files; one that is not there
 * cannot be read.
 */
fun lent(name: String): Uri {
    val file = File(photographs, name)
    val uri = Uri.parse("content://org.mobilekd.elsewhere/").buildUpon().appendPath(name).build()
    val resolver = shadowOf(RuntimeEnvironment.getApplication().contentResolver)
    if (file.exists()) resolver.registerInputStreamSupplier(uri) { file.inputStream() }
    return uri
}

/** "Send to" with one of the test's photographs. */
fun share(name: String): Intent =
    Intent(Intent.ACTION_SEND).setType("image/*").putExtra(Intent.EXTRA_STREAM, lent(name))

/** Let the worker and the main thread run until [fulfilled], at most 30 s. */
fun waitFor(what: String, fulfilled: () -> Boolean) {
    val deadline = System.nanoTime() + 30_000_000_000
    while (!fulfilled()) {
        check(System.nanoTime() < deadline) { "$what did not come" }
        shadowOf(Looper.getMainLooper()).idle()
        Thread.sleep(2)
    }
}

fun Activity.text(id: Int): String =
    findViewById<TextView>(id).run { if (isShown) text.toString() else "" }

/** Draw what the activity shows, as the phone would. */
fun Activity.screenshot(name: String) {
    shadowOf(Looper.getMainLooper())
        .idleFor(Duration.ofMillis(400)) // a spinner at its start is not to be seen
    val root = window.decorView
    val bitmap = Bitmap.createBitmap(root.width, root.height, Bitmap.Config.ARGB_8888)
    root.draw(Canvas(bitmap))
    File(screenshots, "$name.png").outputStream().use {
        bitmap.compress(Bitmap.CompressFormat.PNG, 100, it)
    }
}

/**
 * What a screen reader stops at and says, in the framework's own order of reading: a stop is a view
 * that can be focused, or a text or a description that belongs to no such view.
 */
fun Activity.spoken(): List<String> {
    fun children(view: View) = ArrayList<View>().also(view::addChildrenForAccessibility)
    fun words(view: View): List<String> =
        when {
            !view.isShown -> emptyList()
            view.contentDescription != null -> listOf("${view.contentDescription}")
            view is TextView -> listOf("${view.text}").filter(String::isNotBlank)
            else -> children(view).flatMap(::words)
        }
    fun stops(view: View): List<String> {
        if (!view.isShown) return emptyList()
        val scrolls = view is ScrollView || view is HorizontalScrollView
        val ends = view !is ViewGroup || view.contentDescription != null || view.isFocusable
        if (!ends || scrolls) return children(view).flatMap(::stops)
        return listOf(words(view).joinToString(". ")).filter(String::isNotEmpty)
    }
    return stops(findViewById(android.R.id.content))
}

/** Every view below [root] that is to be seen, [root] first. */
fun shownViews(root: View): List<View> {
    if (!root.isShown) return emptyList()
    val group = root as? ViewGroup ?: return listOf(root)
    return listOf(root) + (0 until group.childCount).flatMap { shownViews(group.getChildAt(it)) }
}

/** What cannot be read whole: lines that end in dots, cut words, texts beside their views. */
fun Activity.cutTexts(): List<String> =
    shownViews(findViewById(android.R.id.content)).filterIsInstance<TextView>().mapNotNull { view ->
        val text = view.layout?.text?.takeIf { it.isNotBlank() } ?: return@mapNotNull null
        val layout = view.layout
        val lines = 0 until layout.lineCount
        val room = view.width - view.compoundPaddingLeft - view.compoundPaddingRight
        val height = view.height - view.compoundPaddingTop - view.compoundPaddingBottom
        val fault =
            when {
                lines.any { layout.getEllipsisCount(it) > 0 } -> "ends in dots"
                layout.height > height -> "is higher than its view"
                lines.any { layout.getLineMax(it) > room + 1 } -> "is wider than its view"
                lines.any { line ->
                    val end = layout.getLineEnd(line)
                    end < text.length && text[end - 1].isLetter() && text[end].isLetter()
                } -> "has a word that is cut"
                isBesideItsParents(view) -> "lies outside of what is shown"
                else -> null
            }
        fault?.let { "“$text” $it" }
    }

/** Whether part of [view] lies outside of a view around it; what scrolls may go on below. */
private fun isBesideItsParents(view: View): Boolean {
    val box = Rect(0, 0, view.width, view.height)
    var inner = view
    while (true) {
        val outer = inner.parent as? ViewGroup ?: return false
        if (inner.id == android.R.id.content) return false
        box.offset(inner.left, inner.top)
        if (outer is HorizontalScrollView) return false
        if (box.left < 0 || box.right > outer.width) return true
        if (outer is ScrollView) {
            box.set(0, 0, outer.width, outer.height)
        } else if (box.top < 0 || box.bottom > outer.height) return true
        inner = outer
    }
}

/**
 * Turn the phone; Robolectric makes the activity anew unless its manifest entry says that it lives
 * through this.
 */
fun <A : Activity> ActivityController<A>.turn() {
    val turned =
        Configuration(get().resources.configuration).apply {
            orientation =
                if (orientation == Configuration.ORIENTATION_LANDSCAPE)
                    Configuration.ORIENTATION_PORTRAIT
                else Configuration.ORIENTATION_LANDSCAPE
            screenWidthDp = screenHeightDp.also { screenHeightDp = screenWidthDp }
        }
    configurationChange(turned)
}

/** On screen and laid out. */
fun <A : Activity> ActivityController<A>.shown(): A = setup().get()
