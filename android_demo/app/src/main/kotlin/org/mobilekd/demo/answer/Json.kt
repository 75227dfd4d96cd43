package org.mobilekd.demo.answer

/**
 * JSON (RFC 8259) to and from Map, List, String, Long, Double, Boolean and null; android.jar's own
 * is a stub in plain tests.
 */
object Json {
    /** The document in one line. Non-finite numbers and foreign types are the caller's mistake. */
    fun write(value: Any?): String = StringBuilder().also { append(it, value) }.toString()

    /** The value of [text]; [IllegalArgumentException] says where it is broken. */
    fun read(text: String): Any? = Reader(text).document()

    private fun append(out: StringBuilder, value: Any?) {
        when (value) {
            null,
            is Boolean,
            is Int,
            is Long -> out.append(value)
            is Double ->
                out.append(value.also { require(it.isFinite()) { "JSON has no word for $it" } })
            is Float -> append(out, value.toDouble())
            is String -> quote(out, value)
            is Map<*, *> ->
                joined(out, '{', '}', value.entries) { (key, item) ->
                    quote(out, key as String)
                    out.append(':')
                    append(out, item)
                }
            is Iterable<*> -> joined(out, '[', ']', value) { append(out, it) }
            is LongArray -> append(out, value.asList())
            else -> throw IllegalArgumentException("JSON has no word for ${value.javaClass}")
        }
    }

    private fun <T> joined(
        out: StringBuilder,
        open: Char,
        close: Char,
        items: Iterable<T>,
        each: (T) -> Unit,
    ) {
        out.append(open)
        items.forEachIndexed { index, item ->
            if (index > 0) out.append(',')
            each(item)
        }
        out.append(close)
    }

    private fun quote(out: StringBuilder, text: String) {
        out.append('"')
        for (char in text) when {
            char == '"' || char == '\\' -> out.append('\\').append(char)
            char < ' ' -> out.append("\\u%04x".format(char.code))
            else -> out.append(char)
        }
        out.append('"')
    }

    private class Reader(private val text: String) {
        private var at = 0

        fun document(): Any? {
            val value = value(0)
            if (next() != null) fail()
            return value
        }

        private fun value(depth: Int): Any? {
            if (depth > 100) fail()
            return when (next()) {
                '{' ->
                    buildMap {
                        list('}') {
                            if (next() != '"') fail()
                            val key = string()
                            expect(':')
                            put(key, value(depth + 1))
                        }
                    }
                '[' -> buildList { list(']') { add(value(depth + 1)) } }
                '"' -> string()
                't' -> word("true", true)
                'f' -> word("false", false)
                'n' -> word("null", null)
                else -> number()
            }
        }

        private fun next(): Char? {
            while (at < text.length && text[at] in " \t\r\n") at++
            return text.getOrNull(at)
        }

        private fun expect(char: Char) {
            if (next() != char) fail()
            at++
        }

        private fun list(close: Char, item: () -> Unit) {
            at++
            if (next() == close) {
                at++
                return
            }
            while (true) {
                item()
                if (next() == close) break
                expect(',')
            }
            at++
        }

        private fun string(): String {
            val out = StringBuilder()
            at++
            while (true) {
                val char = text.getOrNull(at++) ?: fail()
                when {
                    char == '"' -> return out.toString()
                    char == '\\' -> out.append(escaped())
                    char < ' ' -> fail()
                    else -> out.append(char)
                }
            }
        }

        private fun escaped(): Char =
            when (val char = text.getOrNull(at++)) {
                '"',
                '\\',
                '/' -> char
                'b' -> '\b'
                'f' -> '\u000C'
                'n' -> '\n'
                'r' -> '\r'
                't' -> '\t'
                'u' -> {
                    at += 4
                    text
                        .takeIf { at <= it.length }
                        ?.substring(at - 4, at)
                        ?.toIntOrNull(16)
                        ?.toChar() ?: fail()
                }
                else -> fail()
            }

        private fun <T> word(word: String, value: T): T {
            if (!text.startsWith(word, at)) fail()
            at += word.length
            return value
        }

        private fun number(): Any {
            val match = NUMBER.matchAt(text, at) ?: fail()
            at = match.range.last + 1
            return match.value.toLongOrNull() ?: match.value.toDouble()
        }

        private fun fail(): Nothing = throw IllegalArgumentException("not JSON at character $at")
    }

    private val NUMBER = Regex("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")
}
