package org.mobilekd.demo.ui

import android.net.Uri
import android.os.Bundle
import android.os.Handler
import android.os.Looper
import java.io.File
import java.util.concurrent.CancellationException
import java.util.concurrent.Executors
import java.util.concurrent.atomic.AtomicInteger
import org.mobilekd.demo.BuiltIn
import org.mobilekd.demo.Classifier
import org.mobilekd.demo.DemoApplication
import org.mobilekd.demo.answer.Answer
import org.mobilekd.demo.answer.AnswerText
import org.mobilekd.demo.answer.Nonsense
import org.mobilekd.demo.model.EngineTrouble
import org.mobilekd.demo.model.Model
import org.mobilekd.demo.model.ModelStore
import org.mobilekd.demo.model.Pick
import org.mobilekd.demo.model.Unfit
import org.mobilekd.demo.model.UnfitModel
import org.mobilekd.demo.photograph.NoSpace
import org.mobilekd.demo.photograph.NotAPhotograph
import org.mobilekd.demo.photograph.Photograph
import org.mobilekd.demo.photograph.PhotographDecoder
import org.mobilekd.demo.photograph.PhotographStore
import org.mobilekd.demo.photograph.TooLittleMemory
import org.mobilekd.demo.photograph.Unreachable

/**
 * One task's model, photograph and answer. It outlives rotations; its [screen] changes on the main
 * thread only, all work is done on one thread of its own, and what is no longer wanted stops at the
 * next row.
 */
class Session(application: DemoApplication) {
    private val models = ModelStore(application)
    private val builtIn = BuiltIn(application, models)
    private val photographs = PhotographStore(application).apply { sweep() }
    private val worker = Executors.newSingleThreadExecutor()
    private val main = Handler(Looper.getMainLooper())

    /** Raised whenever what runs is no longer wanted. */
    private val turn = AtomicInteger()
    private var model: Model? = null // the worker's alone

    /** The private copy at hand. */
    @Volatile private var file: File? = null
    private var leftWhileWorking = false

    /** The last that was asked for, or went wrong, before the model was there. */
    private var later: (() -> Unit)? = null

    /** The answer that an earlier process gave, until the model changes. */
    @Volatile private var remembered: Remembered? = null

    /** Told whenever [screen] changed. */
    var observer: (Screen) -> Unit = {}

    var screen: Screen = Screen.Starting
        private set(value) {
            field = value
            observer(value)
        }

    val isOpened: Boolean
        get() = models.isOpened

    val samples: List<String> = photographs.samples()

    /** Which of the files inside the app answers; null where it has one, or another was opened. */
    var pick: Pick? = null
        private set

    /**
     * Load the current model; what [saved] holds of an earlier process is shown when it is there.
     */
    fun start(saved: Bundle?) {
        val kept = saved?.getString(PHOTOGRAPH)?.let(::File)
        file = kept
        remembered =
            saved?.getString(ANSWER)?.let { text ->
                kept?.let { Remembered(it, AnswerText.read(text), saved.getString(ANSWERED_BY)) }
            }
        load(source = ::current)
    }

    /** What a later process needs to show the same. */
    fun save(state: Bundle) {
        file?.let { state.putString(PHOTOGRAPH, it.path) }
        (screen as? Screen.Answered)?.let {
            state.putString(ANSWER, AnswerText.write(it.answer))
            state.putString(ANSWERED_BY, it.pick?.file?.folder)
        }
    }

    /** Fetch the photograph at [uri] and look at it. */
    fun look(uri: Uri) = fetch { cancelled -> photographs.copy(uri, cancelled) }

    /** Look at the built-in sample [name]. */
    fun lookAtSample(name: String) = fetch { cancelled -> photographs.copySample(name, cancelled) }

    /** Look at [photograph], which the camera app wrote into [forCamera]'s file. */
    fun lookAtCapture(photograph: File) = fetch { photograph }

    fun forCamera(): File = photographs.forCamera()

    /** Look again at a photograph that waits. */
    fun lookAgain() {
        val waiting = screen as? Screen.Waiting ?: return
        run { classify(waiting.photograph, it) }
    }

    /** Stop what runs; a photograph that is there already waits. */
    fun cancel() {
        val now = screen
        if (now !is Screen.Fetching && now !is Screen.Working) return
        turn.incrementAndGet()
        screen =
            if (now is Screen.Working) Screen.Waiting(now.spec, now.photograph)
            else Screen.Welcome((now as Screen.Fetching).spec)
    }

    /** The screen is out of sight: nobody waits for the answer. */
    fun leave() {
        leftWhileWorking = screen is Screen.Working
        if (leftWhileWorking) cancel()
    }

    /** The screen is back. */
    fun comeBack() {
        if (leftWhileWorking) lookAgain()
        leftWhileWorking = false
    }

    /**
     * Show why a photograph, or a model file, could not be had at all; while the model is loaded,
     * as soon as it is there.
     */
    fun fail(problem: Problem) {
        when (val now = screen) {
            is Screen.WithModel -> screen = Screen.Failed(now.spec, problem)
            is Screen.Refused -> screen = now.copy(problem = problem)
            Screen.Starting -> later = { fail(problem) }
        }
    }

    /** Use the model file at [uri] if it is fit; the photograph at hand is looked at with it. */
    fun openModel(uri: Uri) {
        remembered = null
        load(isCandidate = true) {
            val candidate = models.candidate(uri)
            model = builtIn.load(candidate) // what cannot be kept is closed by the next load
            models.keep(candidate)
            checkNotNull(model) to null
        }
    }

    /** Back to the model that was in use before another was refused. */
    fun useEarlier() = load(source = ::current)

    /** Back to the model inside the app. */
    fun useBuiltIn() {
        remembered = null
        models.forgetOpened()
        load(source = ::current)
    }

    /** The task is over: stop, forget the photograph. */
    fun close(forget: Boolean) {
        turn.incrementAndGet()
        observer = {}
        worker.execute {
            model?.close()
            if (forget) file?.delete()
        }
        worker.shutdown()
    }

    private fun current(): Pair<Model, Pick?> =
        models.opened()?.let { builtIn.load(it) to null } ?: builtIn.choose()

    private fun load(isCandidate: Boolean = false, source: () -> Pair<Model, Pick?>) {
        val task = Task(turn.incrementAndGet())
        file?.let { photograph -> if (later == null) later = { fetch { photograph } } }
        screen = Screen.Starting
        worker.execute {
            model?.close()
            model = null
            val (next, picked) =
                try {
                    val (loaded, reason) = source()
                    model = loaded
                    // another file may answer otherwise
                    remembered = remembered?.takeIf { it.folder == reason?.file?.folder }
                    Screen.Welcome(loaded.spec) to reason
                } catch (error: UnfitModel) {
                    if (isCandidate) models.discardCandidate()
                    Screen.Refused(error.reason, ways(error.reason, isCandidate)) to null
                }
            task.post {
                pick = picked
                screen = next
                later
                    ?.takeIf { next is Screen.Welcome }
                    ?.let { catchUp ->
                        later = null
                        catchUp()
                    }
            }
        }
    }

    /**
     * Those that can help; a processor is the same for every model, and the one that was refused
     * stays so.
     */
    private fun ways(reason: Unfit, isCandidate: Boolean): Set<Way> =
        when {
            reason is Unfit.Processor -> emptySet()
            isCandidate && models.isOpened -> setOf(Way.EARLIER, Way.OTHER)
            isCandidate || models.isOpened || reason is Unfit.NotCopied ->
                setOf(Way.BUILT_IN, Way.OTHER)
            else -> setOf(Way.OTHER)
        }

    private fun fetch(source: (() -> Boolean) -> File) {
        val spec = (screen as? Screen.WithModel)?.spec
        if (spec == null) {
            later = { fetch(source) }
            return
        }
        screen = Screen.Fetching(spec)
        run { task ->
            val fetched = source(task::cancelled)
            if (fetched != file) file?.delete()
            file = fetched
            classify(PhotographDecoder.photograph(fetched, THUMBNAIL), task)
        }
    }

    private fun classify(photograph: Photograph, task: Task) {
        val current = checkNotNull(model)
        task.post { screen = Screen.Working(current.spec, photograph) }
        val answer =
            remembered?.takeIf { it.file == photograph.file }?.answer
                ?: Classifier(current) { PhotographDecoder.open(photograph.file) }
                    .classify(task::cancelled)
        task.post { screen = Screen.Answered(current.spec, photograph, answer, pick) }
    }

    private fun run(action: (Task) -> Unit) {
        val task = Task(turn.incrementAndGet())
        worker.execute {
            val problem =
                try {
                    action(task)
                    return@execute
                } catch (_: CancellationException) {
                    return@execute
                } catch (_: NotAPhotograph) {
                    Problem.NOT_A_PHOTOGRAPH
                } catch (_: Unreachable) {
                    Problem.UNREACHABLE
                } catch (_: NoSpace) {
                    Problem.NO_SPACE
                } catch (_: TooLittleMemory) {
                    Problem.TOO_LITTLE_MEMORY
                } catch (_: OutOfMemoryError) {
                    Problem.TOO_LITTLE_MEMORY
                } catch (_: Nonsense) {
                    Problem.NONSENSE
                } catch (_: EngineTrouble) {
                    Problem.RUNTIME
                }
            task.post { fail(problem) }
        }
    }

    /**
     * One piece of work on the worker thread; what it has to say is heard only while it is wanted.
     */
    private inner class Task(private val mine: Int) {
        fun cancelled(): Boolean = turn.get() != mine

        fun post(change: () -> Unit) {
            main.post { if (!cancelled()) change() }
        }
    }

    /** [folder] is that of the model file that answered, where the app has several. */
    private class Remembered(val file: File, val answer: Answer, val folder: String?)

    private companion object {
        const val PHOTOGRAPH = "photograph"
        const val ANSWER = "answer"
        const val ANSWERED_BY = "answered by"
        const val THUMBNAIL = 1280
    }
}
