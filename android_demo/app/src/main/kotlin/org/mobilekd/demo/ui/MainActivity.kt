package org.mobilekd.demo.ui

import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.ClipData
import android.content.Intent
import android.graphics.BitmapFactory
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.provider.MediaStore
import android.view.Menu
import android.view.MenuItem
import android.view.View
import android.widget.ImageButton
import android.widget.LinearLayout
import java.io.File
import org.mobilekd.demo.DemoApplication
import org.mobilekd.demo.R
import org.mobilekd.demo.photograph.CaptureProvider

/** Hands photographs and model files to the [Session] and draws what it says. */
class MainActivity : Activity(), ScreenView.Actions {
    private lateinit var session: Session
    private lateinit var view: ScreenView
    private var capture: File? = null

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.main)
        setActionBar(findViewById(R.id.toolbar))
        view = ScreenView(findViewById(android.R.id.content), this)
        capture = savedInstanceState?.getString(CAPTURE)?.let(::File)
        val kept = lastNonConfigurationInstance as Session?
        session =
            kept ?: Session(application as DemoApplication).apply { start(savedInstanceState) }
        findViewById<View>(R.id.choose).setOnClickListener { choosePhotograph() }
        findViewById<View>(R.id.camera).setOnClickListener { useCamera() }
        showSamples()
        session.observer = { screen ->
            view.draw(screen)
            if (screen is Screen.Answered) view.announce(screen.answer)
        }
        view.draw(session.screen)
        if (savedInstanceState == null && kept == null) receive(intent)
    }

    override fun onNewIntent(intent: Intent) {
        super.onNewIntent(intent)
        receive(intent)
    }

    override fun onStart() {
        super.onStart()
        session.comeBack()
    }

    override fun onStop() {
        if (!isChangingConfigurations) session.leave()
        super.onStop()
    }

    override fun onDestroy() {
        if (!isChangingConfigurations) session.close(forget = isFinishing)
        super.onDestroy()
    }

    @Deprecated(
        "The framework's own way to keep an object over a rotation; its successor is in AndroidX."
    )
    override fun onRetainNonConfigurationInstance(): Any = session

    override fun onSaveInstanceState(outState: Bundle) {
        super.onSaveInstanceState(outState)
        session.save(outState)
        capture?.let { outState.putString(CAPTURE, it.path) }
    }

    override fun onCreateOptionsMenu(menu: Menu): Boolean {
        menuInflater.inflate(R.menu.main, menu)
        return true
    }

    override fun onPrepareOptionsMenu(menu: Menu): Boolean {
        menu.findItem(R.id.menu_built_in).isVisible = session.isOpened
        return true
    }

    override fun onOptionsItemSelected(item: MenuItem): Boolean {
        when (item.itemId) {
            R.id.menu_card ->
                startActivity(
                    CardActivity.intent(
                        this,
                        (session.screen as? Screen.WithModel)?.spec ?: return true,
                        session.pick,
                    )
                )
            R.id.menu_notices -> startActivity(CardActivity.notices(this))
            R.id.menu_benchmark -> startActivity(Intent(this, BenchmarkActivity::class.java))
            R.id.menu_open -> openModel()
            R.id.menu_built_in -> useBuiltIn()
            else -> return super.onOptionsItemSelected(item)
        }
        return true
    }

    override fun cancel() = session.cancel()

    override fun lookAgain() = session.lookAgain()

    override fun useEarlier() = session.useEarlier()

    override fun useBuiltIn() = session.useBuiltIn()

    override fun openModel() {
        ask(document("*/*"), MODEL, Problem.NO_PICKER)
    }

    @Deprecated("The framework's own way to get a result; its successor is in AndroidX.")
    override fun onActivityResult(requestCode: Int, resultCode: Int, data: Intent?) {
        if (resultCode != RESULT_OK) {
            if (requestCode == CAMERA) capture?.delete()
            return
        }
        when (requestCode) {
            PHOTOGRAPH -> data?.data?.let(session::look)
            CAMERA -> capture?.let(session::lookAtCapture)
            MODEL -> data?.data?.let(session::openModel)
        }
    }

    private fun receive(intent: Intent) {
        if (intent.action != Intent.ACTION_SEND) return
        @Suppress("DEPRECATION") // the typed one came with API 33
        val shared: Uri? = intent.getParcelableExtra(Intent.EXTRA_STREAM)
        if (shared == null) session.fail(Problem.UNREACHABLE) else session.look(shared)
    }

    override fun choosePhotograph() {
        val picker =
            if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.TIRAMISU)
                Intent(MediaStore.ACTION_PICK_IMAGES)
            else document("image/*")
        ask(picker, PHOTOGRAPH, Problem.NO_PICKER)
    }

    private fun document(type: String) =
        Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType(type)

    private fun useCamera() {
        val file = session.forCamera()
        val uri = CaptureProvider.uri(file)
        val intent =
            Intent(MediaStore.ACTION_IMAGE_CAPTURE)
                .putExtra(MediaStore.EXTRA_OUTPUT, uri)
                .addFlags(
                    Intent.FLAG_GRANT_WRITE_URI_PERMISSION or Intent.FLAG_GRANT_READ_URI_PERMISSION
                )
        intent.clipData = ClipData.newRawUri(null, uri) // older versions grant through it alone
        if (ask(intent, CAMERA, Problem.NO_CAMERA)) capture = file else file.delete()
    }

    /** False where no app answers, which the screen then says. */
    private fun ask(intent: Intent, request: Int, otherwise: Problem): Boolean =
        try {
            startActivityForResult(intent, request)
            true
        } catch (_: ActivityNotFoundException) {
            session.fail(otherwise)
            false
        }

    private fun showSamples() {
        val row = findViewById<LinearLayout>(R.id.samples)
        val words = words()
        session.samples.forEachIndexed { index, name ->
            val button = layoutInflater.inflate(R.layout.sample, row, false) as ImageButton
            button.setImageBitmap(assets.open("thumbnails/$name").use(BitmapFactory::decodeStream))
            button.contentDescription = words.getString(R.string.sample, index + 1)
            button.setOnClickListener { session.lookAtSample(name) }
            row.addView(button)
        }
        val none = if (session.samples.isEmpty()) View.GONE else View.VISIBLE
        findViewById<View>(R.id.samples_title).visibility = none
        findViewById<View>(R.id.samples_scroll).visibility = none
    }

    private companion object {
        const val CAPTURE = "capture"
        const val PHOTOGRAPH = 1
        const val CAMERA = 2
        const val MODEL = 3
    }
}
