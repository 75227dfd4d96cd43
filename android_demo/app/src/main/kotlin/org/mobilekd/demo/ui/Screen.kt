package org.mobilekd.demo.ui

import org.mobilekd.demo.answer.Answer
import org.mobilekd.demo.model.Pick
import org.mobilekd.demo.model.Spec
import org.mobilekd.demo.model.Unfit
import org.mobilekd.demo.photograph.Photograph

/** What went wrong with a photograph; each is one sentence in `strings.xml`. */
enum class Problem {
    NOT_A_PHOTOGRAPH,
    UNREACHABLE,
    TOO_LITTLE_MEMORY,
    NO_SPACE,
    NO_CAMERA,
    NO_PICKER,
    NONSENSE,
    RUNTIME,
}

/** Out of a refusal: the model that was in use before, the one inside the app, another file. */
enum class Way {
    EARLIER,
    BUILT_IN,
    OTHER,
}

/**
 * What the main screen shows. Each state holds what it needs and nothing else: there is no answer
 * without a photograph and no photograph without a model.
 */
sealed interface Screen {
    /** The model is being loaded. */
    data object Starting : Screen

    /**
     * The model cannot be used, and why; [ways] are those that can help, and [problem] is what went
     * wrong since.
     */
    data class Refused(val reason: Unfit, val ways: Set<Way>, val problem: Problem? = null) :
        Screen

    /** Every other state has a model. */
    sealed interface WithModel : Screen {
        val spec: Spec
    }

    /** Nothing chosen yet. */
    data class Welcome(override val spec: Spec) : WithModel

    /** A photograph is being fetched from where it lies. */
    data class Fetching(override val spec: Spec) : WithModel

    /** A photograph is being looked at. */
    data class Working(override val spec: Spec, val photograph: Photograph) : WithModel

    /** A photograph that waits: the run was cancelled. */
    data class Waiting(override val spec: Spec, val photograph: Photograph) : WithModel

    /** The answer; [pick] says which of several files gave it. */
    data class Answered(
        override val spec: Spec,
        val photograph: Photograph,
        val answer: Answer,
        val pick: Pick? = null,
    ) : WithModel

    /** The photograph could not be used, and why. */
    data class Failed(override val spec: Spec, val problem: Problem) : WithModel
}
