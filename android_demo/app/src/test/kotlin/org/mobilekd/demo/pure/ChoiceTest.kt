package org.mobilekd.demo.pure

import java.io.File
import java.nio.file.Files
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test
import org.mobilekd.demo.StandInEngine
import org.mobilekd.demo.bench.GoldenSet
import org.mobilekd.demo.bench.ask
import org.mobilekd.demo.bench.littleEndian
import org.mobilekd.demo.model.Carried
import org.mobilekd.demo.model.Chip
import org.mobilekd.demo.model.Engine
import org.mobilekd.demo.model.EngineTrouble
import org.mobilekd.demo.model.Model
import org.mobilekd.demo.model.Output
import org.mobilekd.demo.model.Pick
import org.mobilekd.demo.model.Trials
import org.mobilekd.demo.model.Unfit
import org.mobilekd.demo.model.UnfitModel
import org.mobilekd.demo.model.choose

/** Which of several files answers, on each kind of phone. */
class ChoiceTest {
    private val folder: File = Files.createTempDirectory("trials").toFile()
    private val trials = Trials(folder)
    private val touched = ArrayList<String>()

    private val cpu = Carried("artifact", "xnnpack", "int8")
    private val exact = Carried("artifact-2", "xnnpack", "fp32")
    private val gen3 = Carried("artifact-3", "qnn", "w8a16", "SM8650")
    private val elite = Carried("artifact-4", "qnn", "w8a16", "SM8750")
    private val files = listOf(cpu, exact, gen3, elite)

    @After
    fun clean() {
        folder.deleteRecursively()
    }

    /** A phone from API 31 on, which tells its chip itself. */
    private fun phone(maker: String, model: String) = Chip.of(maker to model) { "" }

    /** An older one, by what `getprop` says. */
    private fun older(vararg properties: Pair<String, String>) =
        Chip.of(null) { mapOf(*properties)[it].orEmpty() }

    private fun picked(chip: Chip, load: (Carried) -> Unit = {}): Pick =
        choose(files, chip, trials) { file ->
                touched += file.folder
                load(file)
            }
            .second

    private fun refuse(reason: Unfit): Nothing = throw UnfitModel(reason)

    @Test
    fun `a Snapdragon takes the file for its chip, whatever the order of the build`() {
        val pick = picked(phone("QTI", "SM8650"))
        assertEquals(gen3, pick.file)
        assertEquals(emptyMap<Carried, Unfit>(), pick.passed)
        assertEquals(elite, picked(phone("Qualcomm", "sm8750")).file)
        assertEquals(
            "the file for the other chip was not touched",
            listOf("artifact-3", "artifact-4"),
            touched,
        )
    }

    @Test
    fun `every other phone takes the first file for the CPU and is told why`() {
        for ((chip, words) in
            listOf(
                phone("QTI", "SM8550") to "QTI SM8550",
                phone("QTI", "SM8650-AB") to "QTI SM8650-AB",
                phone("Google", "Tensor G3") to "Google Tensor G3",
                phone("Samsung", "s5e9945") to "Samsung s5e9945",
                phone("Mediatek", "MT6989") to "Mediatek MT6989",
                phone("unknown", "unknown") to "",
                phone("", "") to "",
                older() to "",
                older("ro.soc.model" to "unknown", "ro.board.platform" to "pineapple") to "",
            )) {
            touched.clear()
            val pick = picked(chip)
            assertEquals(words, cpu, pick.file)
            assertEquals(listOf("artifact"), touched)
            assertEquals(
                mapOf(
                    gen3 to Unfit.OtherChip("SM8650", words),
                    elite to Unfit.OtherChip("SM8750", words),
                ),
                pick.passed,
            )
        }
    }

    @Test
    fun `before API 31 the chip is a property`() {
        assertEquals(
            Chip("QTI", "SM8650"),
            older("ro.soc.model" to " SM8650\n", "ro.soc.manufacturer" to "QTI"),
        )
        assertEquals(gen3, picked(older("ro.vendor.qti.soc_model" to "SM8650")).file)
        assertEquals(
            "what Android tells itself goes first",
            Chip("QTI", "SM8550"),
            Chip.of("QTI" to "SM8550") { "SM8650" },
        )
        assertEquals(
            "and a property where it says that it does not know",
            "SM8650",
            Chip.of("QTI" to "unknown") { if (it == "ro.soc.model") "SM8650" else "" }.model,
        )
    }

    @Test
    fun `the right chip whose delegate does not load falls back and says so`() {
        val chip = phone("QTI", "SM8650")
        val pick = picked(chip) { if (it == gen3) refuse(Unfit.NoDelegate("QnnBackend?")) }
        assertEquals(cpu, pick.file)
        assertEquals(Unfit.NoDelegate("QnnBackend?"), pick.passed[gen3])
        assertEquals(listOf("artifact-3", "artifact"), touched)
        assertEquals("it is tried again at the next start", gen3, picked(chip).file)
    }

    @Test
    fun `of files for the CPU the next one stands in, and without any the first says why not`() {
        val chip = phone("Google", "Tensor G3")
        val pick = picked(chip) { if (it == cpu) refuse(Unfit.NotCopied) }
        assertEquals(exact, pick.file)
        assertEquals(Unfit.NotCopied, pick.passed[cpu])
        val error =
            assertThrows(UnfitModel::class.java) {
                picked(chip) { refuse(if (it == cpu) Unfit.NotCopied else Unfit.Missing) }
            }
        assertEquals(Unfit.NotCopied, error.reason)
    }

    @Test
    fun `a processor that no file runs on ends the search`() {
        assertThrows(UnfitModel::class.java) {
            picked(phone("QTI", "SM8650")) { refuse(Unfit.Processor("atomics")) }
        }
        assertEquals(listOf("artifact-3"), touched)
    }

    @Test
    fun `a file during which the app ended twice is left out, and once is not enough`() {
        val chip = phone("QTI", "SM8650")
        val mark = File(folder, "trying-artifact-3")
        mark.writeText("1")
        assertEquals(gen3, picked(chip).file)
        assertFalse("it loaded: forgotten", mark.exists())
        mark.writeText("2")
        touched.clear()
        val pick = picked(chip)
        assertEquals(cpu, pick.file)
        assertEquals(Unfit.EndedTheApp, pick.passed[gen3])
        assertEquals(listOf("artifact"), touched)
        mark.writeText("1")
        picked(chip) { file ->
            if (file == gen3) {
                assertEquals("while it loads, one more", "2", mark.readText())
                refuse(Unfit.NoDelegate("no"))
            }
        }
        assertFalse("a refusal in words is no end", mark.exists())
    }

    @Test
    fun `one file needs no list and is taken whatever the phone`() {
        for (chip in listOf(phone("QTI", "SM8650"), older())) {
            val pick = choose(listOf(Carried.ONLY), chip, trials) {}.second
            assertEquals(Carried("artifact"), pick.file)
        }
    }

    @Test
    fun `the list is what the build wrote`() {
        val json =
            """[{"folder": "artifact", "backend": "xnnpack", "precision": "int8", "soc": null},
                {"folder": "artifact-3", "backend": "qnn", "precision": "w8a16",
                 "soc": "SM8650"}]"""
        assertEquals(listOf(cpu, gen3), Carried.read(json))
    }

    @Test
    fun `a file says its chip itself, and another phone refuses it before it is prepared`() {
        val constants = StandInEngine.CONSTANTS + ("soc" to listOf("SM8650"))
        fun load(chip: Chip?, engine: Engine) = Model.load(File("none"), chip = chip) { engine }
        assertEquals("SM8650", load(phone("QTI", "SM8650"), StandInEngine(constants)).spec.soc)
        assertEquals("SM8650", load(null, StandInEngine(constants)).spec.soc)
        var prepared = false
        val engine = StandInEngine(constants)
        val watched =
            object : Engine by engine {
                override fun prepare() {
                    prepared = true
                }
            }
        val error =
            assertThrows(UnfitModel::class.java) { load(phone("Google", "Tensor G3"), watched) }
        assertEquals(Unfit.OtherChip("SM8650", "Google Tensor G3"), error.reason)
        assertFalse(prepared)
        assertTrue(engine.closed)
    }

    @Test
    fun `a delegate that is missing is named as such, whenever the runtime says it`() {
        val constants = StandInEngine.CONSTANTS + ("soc" to listOf("SM8650"))
        val atOnce =
            object : Engine by StandInEngine(constants) {
                override fun prepare() = throw EngineTrouble("no QnnBackend")
            }
        val later =
            object : Engine by StandInEngine(constants) {
                override fun forward(input: FloatArray, shape: LongArray): List<Output> =
                    throw EngineTrouble("no QnnBackend")
            }
        for (engine in listOf(atOnce, later)) {
            val error =
                assertThrows(UnfitModel::class.java) { Model.load(File("none")) { engine } }
            assertEquals(Unfit.NoDelegate("no QnnBackend"), error.reason)
        }
    }

    @Test
    fun `a loaded model is asked the golden set`() {
        val inputs = File(folder, "inputs.u8").apply { writeBytes(ByteArray(2 * 3 * 128 * 160)) }
        val model = Model.load(File("none")) { StandInEngine() }
        fun set(row: FloatArray) = GoldenSet(inputs, littleEndian(listOf(row, row)), 1e-4)
        val right = set(StandInEngine.PROBABILITIES).ask(model)
        assertTrue(right.passed)
        assertEquals(2, right.samples)
        assertFalse(set(StandInEngine.UNSURE).ask(model).passed)
    }
}
