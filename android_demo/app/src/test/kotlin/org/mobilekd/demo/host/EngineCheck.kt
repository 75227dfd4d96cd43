package org.mobilekd.demo.host

import java.io.Closeable
import java.io.File
import kotlin.system.exitProcess
import org.mobilekd.demo.answer.Json
import org.mobilekd.demo.answer.rank
import org.mobilekd.demo.decide
import org.mobilekd.demo.bench.Bench
import org.mobilekd.demo.bench.Mode
import org.mobilekd.demo.bench.Request
import org.mobilekd.demo.model.Carried
import org.mobilekd.demo.model.Chip
import org.mobilekd.demo.model.ExecuTorchEngine
import org.mobilekd.demo.model.Model
import org.mobilekd.demo.model.Trials
import org.mobilekd.demo.model.UnfitModel
import org.mobilekd.demo.model.choose
import org.mobilekd.demo.photograph.HeldPixels
import org.mobilekd.demo.photograph.Pixels
import org.mobilekd.demo.tensor.Picture

/**
 * The app's own engine over Android's own libraries in a desktop JVM, driven by the caller:
 * `shim-folder golden MODEL PICTURES...` answers raw RGB pictures; `refuse FILES...` says why not;
 * `bench MODEL INPUTS`; `choose CHIP FILES...` says which file answers, of which one whose name
 * begins with SM is for that chip. Every command prints one line of JSON.
 */
fun main(arguments: Array<String>) {
    val (shim, command) = arguments
    loadAndroidLibraries(shim)
    val files = arguments.drop(2).map(::File)
    val result: Any =
        when (command) {
            "golden" -> golden(files.first(), files.drop(1))
            "refuse" -> files.associate { it.name to refusal(it) }
            "bench" -> bench(files[0], files[1])
            "reload" -> reload(files.first())
            "choose" -> choice(files.first().path, files.drop(1))
            else -> throw IllegalArgumentException(command)
        }
    println(Json.write(result))
    System.out.flush()
    exitProcess(0) // the runtime's own cleaner thread would keep the JVM alive
}

private fun golden(file: File, pictures: List<File>): Map<String, Any> =
    Model.load(file).use { model ->
        val spec = model.spec
        val outputs =
            pictures.map { picture ->
                model.forward(
                    Picture(spec.preprocess.width, spec.preprocess.height, picture.readBytes())
                        .tensor()
                )
            }
        mapOf(
            "labels" to spec.labels,
            "probabilities" to outputs.map { it[0].values.asList() },
            "maps" to outputs.map { it.getOrNull(1)?.values?.asList() },
            "best" to outputs.map { rank(spec.labels, it[0].values).first().label },
            "decisions" to
                outputs.map { output ->
                    decide(spec, output).run {
                        mapOf(
                            "answer" to
                                if (outside) "outside"
                                else if (sure) ranked.first().label else "not sure",
                            "set" to set,
                            "outside" to outside,
                        )
                    }
                },
            "threshold" to spec.threshold,
            "backends" to spec.backend,
        )
    }

private fun refusal(file: File): String =
    try {
        Model.load(file).close()
        "accepted"
    } catch (error: UnfitModel) {
        error.reason.toString()
    }

private fun choice(chip: String, files: List<File>): Map<String, Any> {
    val carried =
        files.associateBy { file ->
            Carried(file.name, soc = file.nameWithoutExtension.takeIf { it.startsWith("SM") })
        }
    val phone = Chip("Maker", chip)
    val trials = Trials(files.first().absoluteFile.parentFile)
    val (model, pick) =
        choose(carried.keys.toList(), phone, trials) { file ->
            Model.load(carried.getValue(file), chip = phone)
        }
    return model.use {
        mapOf(
            "answers" to pick.file.folder,
            "passed" to
                pick.passed.entries.associate { (file, why) -> file.folder to why.toString() },
        )
    }
}

private class NoPhotograph(held: HeldPixels) : Pixels by held, Closeable {
    override fun close() = Unit
}

private fun bench(model: File, inputs: File): Map<String, Any?> {
    fun run(request: Request) =
        Bench(
                request,
                model,
                ::ExecuTorchEngine,
                { NoPhotograph(HeldPixels(1, 1, intArrayOf(-1))) },
            )
            .run()
    val golden = run(Request(Mode.GOLDEN, inputs = inputs))
    val threads =
        listOf(1, 2, 1, 2).map {
            run(Request(Mode.MEASURE, threads = it, samples = 20, warmupMax = 40, seconds = 0.05))
        }
    return mapOf("golden" to golden, "measure" to threads)
}

private fun reload(file: File): Map<String, Any> {
    val grey = { model: Model ->
        model.spec.preprocess.run {
            model.forward(FloatArray(3 * width * height) { 90f })[0].values.asList()
        }
    }
    return mapOf("distinct" to List(20) { Model.load(file).use(grey) }.distinct().size)
}
