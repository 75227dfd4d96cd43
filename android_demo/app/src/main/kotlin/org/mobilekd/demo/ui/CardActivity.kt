package org.mobilekd.demo.ui

import android.app.Activity
import android.content.Context
import android.content.Intent
import android.os.Bundle
import android.view.MenuItem
import android.view.ViewGroup
import org.mobilekd.demo.R
import org.mobilekd.demo.model.ModelStore
import org.mobilekd.demo.model.Pick
import org.mobilekd.demo.model.Spec

/**
 * A page of cards: what the `.pte` says about itself and the runtime in this app, or the licences
 * of what this app holds of others.
 */
class CardActivity : Activity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.page)
        setActionBar(findViewById(R.id.toolbar))
        actionBar?.setDisplayHomeAsUpEnabled(true)
        title = intent.getStringExtra(TITLE) ?: getString(R.string.model_card)
        val column = findViewById<ViewGroup>(R.id.column)
        // else a text to select that is higher than the screen takes the focus, and with it the
        // place of its heading; the layout cannot say so, since a scroll view overrides it
        (column.parent as ViewGroup).descendantFocusability = ViewGroup.FOCUS_BEFORE_DESCENDANTS
        val titles = intent.getStringArrayExtra(TITLES).orEmpty()
        val texts = intent.getStringArrayExtra(TEXTS).orEmpty()
        titles.zip(texts).forEach { (title, text) -> column.addSection(title, text) }
    }

    override fun onOptionsItemSelected(item: MenuItem): Boolean {
        if (item.itemId != android.R.id.home) return super.onOptionsItemSelected(item)
        finish()
        return true
    }

    companion object {
        private const val TITLE = "title"
        private const val TITLES = "titles"
        private const val TEXTS = "texts"

        private val RULE = Regex("\n\n=+\n\n")

        /** Opens the card of [spec]; [pick] says which of the app's files it is. */
        fun intent(context: Context, spec: Spec, pick: Pick? = null): Intent =
            page(context, sections(context, spec, pick))

        /** Opens `res/raw/notices.txt`, a card for each part of it. */
        fun notices(context: Context): Intent {
            val file = context.resources.openRawResource(R.raw.notices)
            val text = file.bufferedReader().use { it.readText() }
            val parts =
                text.split(RULE).map {
                    it.substringBefore("\n\n") to it.substringAfter("\n\n").trim()
                }
            return page(context, parts).putExtra(TITLE, context.getString(R.string.notices))
        }

        private fun page(context: Context, sections: List<Pair<String, String>>): Intent =
            Intent(context, CardActivity::class.java)
                .putExtra(TITLES, sections.map { it.first }.toTypedArray())
                .putExtra(TEXTS, sections.map { it.second }.toTypedArray())

        private fun sections(
            context: Context,
            spec: Spec,
            pick: Pick?,
        ): List<Pair<String, String>> {
            val runtime = ModelStore(context).runtime()
            val sentences = Sentences(context)
            val words = sentences.words
            val percent = sentences.percent(spec.threshold.toFloat())
            // a model with sets answers with them, whatever its threshold
            val threshold =
                when {
                    spec.setThresholds != null -> null
                    spec.threshold > 0 -> words.getString(R.string.card_threshold, percent)
                    else -> words.getString(R.string.card_no_threshold)
                }
            val temperature =
                words.getString(R.string.card_temperature, sentences.number(spec.finalTemperature))
            val sets =
                spec.setCoverage?.let {
                    words.getString(R.string.card_sets, sentences.percent(it.toFloat()))
                }
            val input =
                words.getString(R.string.card_input, spec.preprocess.width, spec.preprocess.height)
            return listOf(
                    spec.name to spec.card,
                    context.getString(R.string.card_classes) to
                        spec.labels.joinToString("\n", transform = sentences::heading),
                    context.getString(R.string.card_decision) to
                        listOfNotNull(spec.decision, threshold, sets, temperature, input)
                            .joinToString("\n"),
                    context.getString(R.string.card_notes) to
                        context.getString(R.string.research_note),
                    context.getString(R.string.card_file) to
                        listOf(spec.backend, spec.precision, spec.student.take(16))
                            .joinToString(", "),
                    context.getString(R.string.card_processor) to
                        pick?.let(sentences::answers).orEmpty(),
                    context.getString(R.string.card_versions) to spec.versions.joinToString("\n"),
                    context.getString(R.string.card_runtime) to
                        "${runtime.name} ${runtime.version}".trim(),
                )
                .filter { it.second.isNotBlank() }
        }
    }
}
