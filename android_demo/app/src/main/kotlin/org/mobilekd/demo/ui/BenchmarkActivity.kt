package org.mobilekd.demo.ui

import android.app.Activity
import android.os.Bundle
import android.view.LayoutInflater
import android.view.MenuItem
import android.view.View
import android.view.ViewGroup
import android.view.WindowManager
import android.widget.Button
import android.widget.TextView
import java.io.File
import java.io.IOException
import java.util.concurrent.CancellationException
import kotlin.concurrent.thread
import org.mobilekd.demo.DemoApplication
import org.mobilekd.demo.R
import org.mobilekd.demo.answer.Json
import org.mobilekd.demo.bench.Bench
import org.mobilekd.demo.bench.GoldenSet
import org.mobilekd.demo.bench.Phone
import org.mobilekd.demo.bench.Report
import org.mobilekd.demo.bench.ScreenBenchmark
import org.mobilekd.demo.model.EngineTrouble
import org.mobilekd.demo.model.Model
import org.mobilekd.demo.model.ModelStore
import org.mobilekd.demo.model.UnfitModel
import org.mobilekd.demo.photograph.PhotographDecoder

/**
 * Golden set, then times by number of threads; in a process of its own, stopped when the screen
 * goes.
 */
class BenchmarkActivity : Activity() {
    private val sentences by lazy { Sentences(this) }
    private val results: ViewGroup by lazy { findViewById(R.id.bench_results) }

    /** Replaced by every run; a run whose token is no longer this one is not wanted. */
    @Volatile private var running: Any? = null

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.page)
        setActionBar(findViewById(R.id.toolbar))
        actionBar?.setDisplayHomeAsUpEnabled(true)
        title = getString(R.string.benchmark)
        layoutInflater.inflate(R.layout.benchmark, findViewById(R.id.column))
        button().setOnClickListener { if (running == null) start() else stop() }
        draw(null)
    }

    override fun onOptionsItemSelected(item: MenuItem): Boolean {
        if (item.itemId != android.R.id.home) return super.onOptionsItemSelected(item)
        finish()
        return true
    }

    override fun onStop() {
        stop()
        super.onStop()
    }

    private fun button(): Button = findViewById(R.id.bench_run)

    private fun stop() {
        running = null
        draw(null)
    }

    private fun start() {
        val token = Any()
        running = token
        results.removeAllViews()
        window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        fun post(change: () -> Unit) = runOnUiThread { if (running === token) change() }
        thread {
            val end: () -> Unit =
                try {
                    val report =
                        synchronized(ONE_AT_A_TIME) {
                            benchmark({ running !== token }) { threads -> post { draw(threads) } }
                        }
                    val file =
                        File(checkNotNull(getExternalFilesDir(null)), "benchmark.json").apply {
                            writeText(report.json())
                        }
                    ({ show(report, file) })
                } catch (_: CancellationException) {
                    ({})
                } catch (error: UnfitModel) {
                    ({ section(R.string.refused_title, sentences.unfit(error.reason)) })
                } catch (error: EngineTrouble) {
                    ({
                        section(
                            R.string.problem_title,
                            getString(R.string.bench_failed, error.detail),
                        )
                    })
                } catch (error: IOException) {
                    ({
                        section(
                            R.string.problem_title,
                            getString(R.string.bench_failed, error.message),
                        )
                    })
                }
            post {
                end()
                stop()
            }
        }
    }

    private fun benchmark(cancelled: () -> Boolean, stage: (Int) -> Unit): Report {
        if (cancelled()) throw CancellationException()
        val application = application as DemoApplication
        val store = ModelStore(this)
        val file = store.current()
        val runtime = store.runtime()
        val spec = Model.load(file, runtime.needs) { application.openEngine(it) }.use { it.spec }
        val cores = Runtime.getRuntime().availableProcessors()
        val phone = Phone(this)
        return ScreenBenchmark(
                spec,
                if (store.isOpened) null else goldenSet(),
                listOf(1, 2, 4).filter { it <= cores },
                { request ->
                    Bench(
                            request,
                            file,
                            application::openEngine,
                            PhotographDecoder::open,
                            cancelled,
                        )
                        .run()
                },
                phone.device(),
                phone::conditions,
                mapOf("executorch" to runtime.version, "runtime" to runtime.name) +
                    spec.versions.associate { it.substringBefore('=') to it.substringAfter('=') },
                stage,
            )
            .run()
    }

    private fun goldenSet(): GoldenSet {
        val inputs = File(cacheDir, "golden-inputs.u8")
        assets.open("artifact/golden/inputs.u8").use { source ->
            inputs.outputStream().use(source::copyTo)
        }
        val index =
            assets.open("artifact/golden/golden.json").use {
                Json.read(it.readBytes().decodeToString())
            } as Map<*, *>
        val expected = assets.open("artifact/golden/probabilities.f32").use { it.readBytes() }
        return GoldenSet(inputs, expected, (index["max_error"] as Number).toDouble())
    }

    /** [threads] null: nothing runs; 0: the golden set; else that many threads are timed. */
    private fun draw(threads: Int?) {
        val progress = findViewById<View>(R.id.bench_progress)
        val stage = findViewById<TextView>(R.id.bench_stage)
        progress.visibility = if (running == null) View.GONE else View.VISIBLE
        stage.visibility = progress.visibility
        stage.text =
            when (threads) {
                null -> ""
                0 -> getString(R.string.bench_stage_golden)
                else ->
                    sentences.words.getQuantityString(
                        R.plurals.bench_stage_threads,
                        threads,
                        threads,
                    )
            }
        button().setText(if (running == null) R.string.bench_run else R.string.bench_stop)
        if (running == null) window.clearFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
    }

    private fun show(report: Report, file: File) {
        val golden = report.golden
        val words = sentences.words
        val verdict =
            when {
                golden == null -> getString(R.string.bench_golden_absent)
                golden.passed ->
                    words.getString(
                        R.string.bench_golden_passed,
                        golden.samples,
                        sentences.difference(golden.maxError),
                    )
                else ->
                    words.getString(
                        R.string.bench_golden_failed,
                        sentences.difference(golden.maxError),
                        sentences.difference(golden.limit),
                    )
            }
        section(R.string.bench_golden, verdict)
        if (report.rows.isNotEmpty()) table(report)
        section(R.string.bench_file, getString(R.string.bench_saved, file.name))
    }

    private fun section(title: Int, text: String) = results.addSection(getString(title), text)

    /** With the phone's name, because such a screen is photographed and passed on. */
    private fun table(report: Report) {
        val card =
            section(R.string.bench_times, getString(R.string.bench_phone, report.phone))
                as ViewGroup
        card.addRow(
            listOf(
                    R.string.bench_threads,
                    R.string.bench_median,
                    R.string.bench_p90,
                    R.string.bench_first,
                )
                .map(::getString)
        )
        report.rows.forEach { row ->
            val cells = listOf(row.median, row.p90, row.first).map(sentences::milliseconds)
            card
                .addRow(listOf(sentences.number(row.threads.toDouble())) + cells)
                .contentDescription =
                sentences.words.getQuantityString(
                    R.plurals.bench_row,
                    row.threads,
                    row.threads,
                    cells[0],
                    cells[1],
                    cells[2],
                )
        }
    }

    private fun ViewGroup.addRow(cells: List<String>): View {
        val row = LayoutInflater.from(context).inflate(R.layout.row_times, this, false) as ViewGroup
        cells.forEachIndexed { index, text -> (row.getChildAt(index) as TextView).text = text }
        addView(row)
        return row
    }

    private companion object {
        /**
         * A stopped run may be inside the runtime still; a model loaded with other threads beside
         * it would hang both for good.
         */
        val ONE_AT_A_TIME = Any()
    }
}
