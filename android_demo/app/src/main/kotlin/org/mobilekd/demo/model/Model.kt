package org.mobilekd.demo.model

import java.io.Closeable
import java.io.File
import org.mobilekd.demo.answer.Nonsense
import org.mobilekd.demo.answer.rank

/**
 * A model that was found fit: what it says about itself holds, and it answers a grey picture as it
 * promises.
 */
class Model private constructor(val spec: Spec, private val engine: Engine) : Closeable {
    private val shape =
        longArrayOf(1, 3, spec.preprocess.height.toLong(), spec.preprocess.width.toLong())

    /**
     * float32 `[3 * height * width]`, RGB planes of 0..255 -> probabilities `[1, classes]` and, if
     * promised, a map `[1, h, w]` and the guard's score `[1, 1]`, in the order of the spec's
     * outputs.
     */
    fun forward(tensor: FloatArray): List<Output> = engine.forward(tensor, shape)

    override fun close() = engine.close()

    private fun probe() {
        fun refuse(detail: String): Nothing = throw UnfitModel(Unfit.WrongShape(detail))
        val grey = FloatArray(3 * spec.preprocess.height * spec.preprocess.width) { 127f }
        val outputs =
            try {
                forward(grey)
            } catch (error: EngineTrouble) {
                throw UnfitModel(unfit(spec, error) ?: Unfit.WrongShape(error.detail), error)
            }
        if (outputs.size != spec.outputs.size)
            refuse("${outputs.size} outputs, not ${spec.outputs.size}")
        if (outputs[0].shape != listOf(1, spec.labels.size))
            refuse("probabilities of shape ${outputs[0].shape}")
        spec.place(Spec.MAP)?.let { place ->
            val shape = outputs[place].shape
            if (shape.size != 3 || shape[0] != 1) refuse("a map of shape $shape")
        }
        spec.place(Spec.OUTSIDE)?.let { place ->
            if (outputs[place].values.size != 1)
                refuse("a guard's score of shape ${outputs[place].shape}")
        }
        try {
            rank(spec.labels, outputs[0].values)
        } catch (nonsense: Nonsense) {
            refuse(nonsense.detail)
        }
    }

    companion object {
        /**
         * Load [file] and check it; [UnfitModel] says why not.
         *
         * @param needs processor features without which the built-in runtime crashes; asked before
         *   it is loaded
         * @param chip this phone's, which a file for one chip must be for; null: any will do
         */
        fun load(
            file: File,
            needs: Set<String> = emptySet(),
            chip: Chip? = null,
            open: (File) -> Engine = ::ExecuTorchEngine,
        ): Model {
            Processor.missingHere(needs).firstOrNull()?.let {
                throw UnfitModel(Unfit.Processor(it))
            }
            val engine =
                try {
                    open(file)
                } catch (error: EngineTrouble) {
                    throw UnfitModel(Unfit.Unreadable(error.detail), error)
                }
            try {
                val spec = Spec.read(engine)
                val soc = spec.soc
                if (soc != null && chip != null && !chip.fits(soc))
                    throw UnfitModel(Unfit.OtherChip(soc, chip.words))
                try {
                    engine.prepare()
                } catch (error: EngineTrouble) {
                    throw UnfitModel(unfit(spec, error) ?: Unfit.Unreadable(error.detail), error)
                }
                return Model(spec, engine).apply { probe() }
            } catch (error: EngineTrouble) {
                engine.close()
                throw UnfitModel(Unfit.Unreadable(error.detail), error)
            } catch (error: UnfitModel) {
                engine.close()
                throw error
            }
        }

        /** Why a file for one chip does not run: what it says of itself could be read. */
        private fun unfit(spec: Spec, error: EngineTrouble): Unfit? =
            if (spec.soc == null) null else Unfit.NoDelegate(error.detail)
    }
}
