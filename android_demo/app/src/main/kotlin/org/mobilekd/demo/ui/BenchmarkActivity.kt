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
import org.mobilekd.demo.BuiltIn
import org.mobilekd.demo.DemoApplication
import org.mobilekd.demo.R
import org.mobilekd.demo.bench.Bench
import org.mobilekd.demo.bench.Candidate
import org.mobilekd.demo.bench.Phone
import org.mobilekd.demo.bench.Report
import org.mobilekd.demo.bench.Request
import org.mobilekd.demo.bench.ScreenBenchmark
import org.mobilekd.demo.bench.goldenSet
import org.mobilekd.demo.model.Carried
import org.mobilekd.demo.model.EngineTrouble
import org.mobilekd.demo.model.ModelStore
import org.mobilekd.demo.model.Unfit
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
                    val result =
                        synchronized(ONE_AT_A_TIME) {
                            benchmark({ running !== token }) { threads -> post { draw(threads) } }
                        }
                    val files = save(result.reports)
                    ({ show(result, files) })
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

    /** What was measured, and the files that this phone cannot use, with the reason. */
    private class Result(val reports: List<Report>, val passed: Map<Carried, Unfit>)

    private fun benchmark(cancelled: () -> Boolean, stage: (Int) -> Unit): Result {
        if (cancelled()) throw CancellationException()
        val store = ModelStore(this)
        val runtime = store.runtime()
        val passed = LinkedHashMap<Carried, Unfit>()
        val candidates = candidates(store, passed, cancelled)
        val cores = Runtime.getRuntime().availableProcessors()
        val phone = Phone(this)
        val reports =
            ScreenBenchmark(
                    candidates,
                    listOf(1, 2, 4).filter { it <= cores },
                    phone.device(),
                    phone::conditions,
                    mapOf("executorch" to runtime.version, "runtime" to runtime.name),
                    stage,
                )
                .run()
        return Result(reports, passed)
    }

    /** The opened model, or every model inside the APK that this phone can use. */
    private fun candidates(
        store: ModelStore,
        passed: MutableMap<Carried, Unfit>,
        cancelled: () -> Boolean,
    ): List<Candidate> {
        val application = application as DemoApplication
        val builtIn = BuiltIn(application, store)
        fun measure(file: File): (Request) -> Map<String, Any?> = { request ->
            Bench(request, file, application::openEngine, PhotographDecoder::open, cancelled).run()
        }
        store.opened()?.let { file ->
            return listOf(Candidate(builtIn.load(file).use { it.spec }, null, measure(file)))
        }
        val found =
            store.carried.mapNotNull { carried ->
                try {
                    val spec = builtIn.load(carried).use { it.spec }
                    Candidate(spec, goldenSet(this, carried), measure(store.builtIn(carried)))
                } catch (error: UnfitModel) {
                    passed[carried] = error.reason
                    null
                }
            }
        // of those for any phone there is always one
        return found.ifEmpty { throw UnfitModel(passed.entries.first { it.key.soc == null }.value) }
    }

    /** One file for each report; the names of several say which model file it is of. */
    private fun save(reports: List<Report>): List<File> =
        reports.map { report ->
            val parts = report.spec.run { listOfNotNull(backend, precision, soc) }
            val name =
                if (reports.size == 1) "benchmark.json"
                else "benchmark-${parts.joinToString("-")}.json"
            File(checkNotNull(getExternalFilesDir(null)), name).apply { writeText(report.json()) }
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

    private fun show(result: Result, files: List<File>) {
        val several = result.reports.size + result.passed.size > 1
        for (report in result.reports) if (several) file(report) else only(report)
        for ((file, reason) in result.passed) results.addSection(
            sentences.file(file),
            getString(R.string.bench_passed, sentences.unfit(reason)),
        )
        val names = files.joinToString { it.name }
        section(R.string.bench_file, getString(R.string.bench_saved, names))
    }

    private fun only(report: Report) {
        section(R.string.bench_golden, verdict(report))
        if (report.rows.isEmpty()) return
        val card = section(R.string.bench_times, getString(R.string.bench_phone, report.phone))
        (card as ViewGroup).addTable(report)
    }

    /** One of several files: its answers and its times in one card. */
    private fun file(report: Report) {
        val phone = getString(R.string.bench_phone, report.phone)
        val text = listOfNotNull(verdict(report), phone.takeIf { report.rows.isNotEmpty() })
        val card = results.addSection(sentences.file(report.spec), text.joinToString("\n"))
        if (report.rows.isNotEmpty()) (card as ViewGroup).addTable(report)
    }

    private fun verdict(report: Report): String {
        val golden = report.golden
        val words = sentences.words
        return when {
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
    }

    private fun section(title: Int, text: String) = results.addSection(getString(title), text)

    /** With the phone's name above, because such a screen is photographed and passed on. */
    private fun ViewGroup.addTable(report: Report) {
        addRow(
            listOf(
                    R.string.bench_threads,
                    R.string.bench_median,
                    R.string.bench_p90,
                    R.string.bench_first,
                )
                .map { getString(it) }
        )
        report.rows.forEach { row ->
            val cells = listOf(row.median, row.p90, row.first).map(sentences::milliseconds)
            addRow(listOf(sentences.number(row.threads.toDouble())) + cells)
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
