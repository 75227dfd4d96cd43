package org.mobilekd.demo.ui

import android.view.LayoutInflater
import android.view.View
import android.view.ViewGroup
import android.widget.Button
import android.widget.ScrollView
import android.widget.Switch
import android.widget.TextView
import org.mobilekd.demo.R
import org.mobilekd.demo.answer.Answer
import org.mobilekd.demo.answer.Ranked
import org.mobilekd.demo.photograph.Photograph
import org.mobilekd.demo.tensor.Preprocess

/** Draws a [Screen] into the main layout; decides nothing. */
class ScreenView(private val root: View, private val on: Actions) {
    /** What the user can ask for. */
    interface Actions {
        fun cancel()

        fun lookAgain()

        fun choosePhotograph()

        fun useEarlier()

        fun useBuiltIn()

        fun openModel()
    }

    private val sentences = Sentences(root.context)
    private val photograph: PhotographView = root.findViewById(R.id.photograph)
    private val attention: Switch = root.findViewById(R.id.attention)

    fun draw(screen: Screen) {
        val shown =
            when (screen) {
                is Screen.Working -> screen.photograph
                is Screen.Waiting -> screen.photograph
                is Screen.Answered -> screen.photograph
                else -> null
            }
        visible(R.id.illustration, shown == null)
        visible(R.id.photograph, shown != null)
        visible(R.id.caption, shown != null)
        visible(R.id.attention, screen is Screen.Answered && canShowAttention(screen.answer))
        visible(R.id.message, screen !is Screen.Answered)
        visible(
            R.id.progress,
            screen is Screen.Starting || screen is Screen.Fetching || screen is Screen.Working,
        )
        visible(R.id.answer, screen is Screen.Answered)
        visible(
            R.id.choices,
            screen is Screen.Welcome || screen is Screen.Answered || screen is Screen.Failed,
        )
        text(
            R.id.choose,
            root.resources.getString(
                if (screen is Screen.Answered) R.string.another else R.string.choose
            ),
        )
        if (shown != null && screen is Screen.WithModel) show(shown, screen.spec.preprocess)
        when (screen) {
            Screen.Starting -> message(title = R.string.starting)
            is Screen.Refused -> refused(screen)
            is Screen.Welcome ->
                message(R.string.welcome_title, root.resources.getString(R.string.welcome_text))
            is Screen.Fetching,
            is Screen.Working ->
                message(title = R.string.working, second = R.string.cancel, onSecond = on::cancel)
            is Screen.Waiting ->
                message(
                    R.string.waiting_title,
                    root.resources.getString(R.string.waiting_text),
                    R.string.look,
                    on::lookAgain,
                    R.string.another,
                    on::choosePhotograph,
                )
            is Screen.Failed -> message(R.string.problem_title, sentences.problem(screen.problem))
            is Screen.Answered -> answer(screen)
        }
    }

    /** Say the answer aloud where somebody listens. */
    fun announce(answer: Answer) = root.announceForAccessibility(sentences.announcement(answer))

    private fun show(shown: Photograph, preprocess: Preprocess) {
        val crop = preprocess.cropBox(shown.width, shown.height)
        photograph.show(shown, preprocess, null)
        text(R.id.caption, root.resources.getString(R.string.crop_explained))
        photograph.contentDescription =
            sentences.words.getString(
                R.string.photo_description,
                crop.width,
                crop.height,
                shown.width,
                shown.height,
            )
    }

    private fun refused(screen: Screen.Refused) {
        message(R.string.refused_title, sentences.refused(screen))
        if (Way.EARLIER in screen.ways)
            button(R.id.message_action, R.string.earlier, on::useEarlier)
        if (Way.BUILT_IN in screen.ways)
            button(R.id.message_action, R.string.built_in, on::useBuiltIn)
        if (Way.OTHER in screen.ways)
            button(R.id.message_second, R.string.open_other, on::openModel)
    }

    private fun answer(screen: Screen.Answered) {
        val answer = screen.answer
        val over = sentences.overHeadline(answer)
        visible(R.id.headline_over, over != null)
        text(R.id.headline_over, over.orEmpty())
        text(R.id.headline_text, sentences.headline(answer))
        text(R.id.headline_under, sentences.underHeadline(answer, screen.spec))
        text(R.id.flaws, sentences.flaws(answer.flaws))
        visible(R.id.flaws, answer.flaws.isNotEmpty())
        val by = screen.pick?.let(sentences::answeredBy)
        text(R.id.times, listOfNotNull(sentences.times(answer.times), by).joinToString("\n"))
        classes(answer)
        attention.setOnCheckedChangeListener { _, looked -> overlay(screen, looked) }
        overlay(screen, attention.isChecked)
        root.findViewById<ScrollView>(R.id.scroll).scrollTo(0, 0)
    }

    /**
     * All classes; those that the set excludes under a heading of their own. None where there is no
     * answer: their numbers would be read as one.
     */
    private fun classes(answer: Answer) {
        val divided = sentences.excludesSome(answer)
        val (inside, excluded) =
            answer.ranked.partition { !divided || it.label in answer.set.orEmpty() }
        text(
            R.id.classes_title,
            root.resources.getString(if (divided) R.string.set_in else R.string.all_classes),
        )
        rows(R.id.classes, inside.takeUnless { answer.outside }.orEmpty(), answer)
        rows(R.id.excluded, excluded.takeUnless { answer.outside }.orEmpty(), answer)
        visible(R.id.classes_title, !answer.outside)
        visible(R.id.excluded_title, divided)
    }

    private fun rows(id: Int, shown: List<Ranked>, answer: Answer) {
        val column: ViewGroup = root.findViewById(id)
        column.removeAllViews()
        shown.forEach { column.addView(row(column, it, sentences.row(it, answer))) }
        visible(id, shown.isNotEmpty())
    }

    /** Where the model looked explains an answer, so without one it is not shown. */
    private fun canShowAttention(answer: Answer) = answer.attention != null && !answer.outside

    private fun overlay(screen: Screen.Answered, looked: Boolean) {
        if (!canShowAttention(screen.answer) || !looked)
            return show(screen.photograph, screen.spec.preprocess)
        photograph.show(screen.photograph, screen.spec.preprocess, screen.answer.attention)
        text(R.id.caption, root.resources.getString(R.string.attention_explained))
        photograph.contentDescription =
            root.resources.getString(R.string.photo_description_attention)
    }

    private fun row(column: ViewGroup, ranked: Ranked, spoken: String): View {
        val row = LayoutInflater.from(column.context).inflate(R.layout.row_class, column, false)
        row.findViewById<TextView>(R.id.label).text = sentences.heading(ranked.label)
        row.findViewById<TextView>(R.id.percent).text = sentences.percent(ranked.probability)
        row.findViewById<BarView>(R.id.bar).share = ranked.probability
        row.contentDescription = spoken
        return row
    }

    private fun message(
        title: Int,
        text: String = "",
        action: Int? = null,
        onAction: () -> Unit = {},
        second: Int? = null,
        onSecond: () -> Unit = {},
    ) {
        text(R.id.message_title, root.resources.getString(title))
        text(R.id.message_text, text)
        visible(R.id.message_text, text.isNotEmpty())
        button(R.id.message_action, action, onAction)
        button(R.id.message_second, second, onSecond)
    }

    private fun button(id: Int, label: Int?, onClick: () -> Unit) {
        visible(id, label != null)
        if (label == null) return
        root.findViewById<Button>(id).apply {
            setText(label)
            setOnClickListener { onClick() }
        }
    }

    private fun text(id: Int, text: String) {
        root.findViewById<TextView>(id).text = text
    }

    private fun visible(id: Int, visible: Boolean) {
        root.findViewById<View>(id).visibility = if (visible) View.VISIBLE else View.GONE
    }
}
