package org.mobilekd.demo

import java.io.File
import java.io.IOException
import org.mobilekd.demo.bench.ask
import org.mobilekd.demo.bench.goldenSet
import org.mobilekd.demo.model.Carried
import org.mobilekd.demo.model.EngineTrouble
import org.mobilekd.demo.model.Model
import org.mobilekd.demo.model.ModelStore
import org.mobilekd.demo.model.Pick
import org.mobilekd.demo.model.Unfit
import org.mobilekd.demo.model.UnfitModel
import org.mobilekd.demo.model.attempt
import org.mobilekd.demo.model.choose
import org.mobilekd.demo.model.phoneChip

/** The models inside the APK, as far as this phone can use them. Asked on a worker thread. */
class BuiltIn(private val application: DemoApplication, private val store: ModelStore) {
    private val chip by lazy(::phoneChip)

    /** The model that this phone uses, and why it is that one; null where there is no other. */
    fun choose(): Pair<Model, Pick?> {
        val (model, pick) = choose(store.carried, chip, store.trials, ::open)
        return model to pick.takeIf { store.carried.size > 1 }
    }

    /** One of the models; [UnfitModel] says why this phone cannot use it. */
    fun load(carried: Carried): Model = attempt(carried, chip, store.trials, ::open)

    /** The model that the user opened, if it is for this phone. */
    fun load(opened: File): Model =
        Model.load(opened, store.runtime().needs, chip) { application.openEngine(it) }

    /**
     * What is for one chip was compiled where there was none: its answers are compared before any
     * of them is shown.
     */
    private fun open(carried: Carried): Model {
        val model = load(store.builtIn(carried))
        if (carried.soc == null) return model
        val reason =
            try {
                val check = goldenSet(application, carried).ask(model)
                if (check.passed) return model
                Unfit.WrongAnswers(check.maxError, check.limit)
            } catch (error: EngineTrouble) {
                Unfit.NoDelegate(error.detail)
            } catch (_: IOException) {
                Unfit.NotCopied
            }
        model.close()
        throw UnfitModel(reason)
    }
}
