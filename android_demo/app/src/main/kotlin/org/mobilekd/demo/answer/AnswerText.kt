package org.mobilekd.demo.answer

/** An [Answer] as text and back, so that it outlives the process in the saved state. */
object AnswerText {
    fun write(answer: Answer): String =
        Json.write(
            mapOf(
                "labels" to answer.ranked.map { it.label },
                "probabilities" to answer.ranked.map { it.probability },
                "sure" to answer.sure,
                "outside" to answer.outside,
                "set" to answer.set,
                "flaws" to answer.flaws.map { it.name },
                "attention" to
                    answer.attention?.let {
                        mapOf("width" to it.width, "height" to it.height, "values" to it.values)
                    },
                "times" to answer.times.run { listOf(decode, resize, execute, this.answer) },
            )
        )

    fun read(text: String): Answer {
        val fields = Json.read(text) as Map<*, *>
        fun list(name: String) = fields[name] as List<*>
        val times = list("times").map { it as Long }
        return Answer(
            ranked =
                list("labels").zip(list("probabilities")) { label, value ->
                    Ranked(label as String, (value as Number).toFloat())
                },
            sure = fields["sure"] as Boolean,
            flaws = list("flaws").map { Flaw.valueOf(it as String) }.toSet(),
            attention =
                (fields["attention"] as Map<*, *>?)?.let { map ->
                    val values = (map["values"] as List<*>).map { (it as Number).toFloat() }
                    Attention(
                        (map["width"] as Long).toInt(),
                        (map["height"] as Long).toInt(),
                        values,
                    )
                },
            times = Times(times[0], times[1], times[2], times[3]),
            outside = fields["outside"] as Boolean? ?: false,
            set = (fields["set"] as List<*>?)?.map { it as String },
        )
    }
}
