import CoreML
import Foundation

public enum ModelError: Error {
    case notOurs(String)
}

/// What the model says of itself in its metadata; the app has none of it hard-coded.
public struct Facts {
    public let labels, labelTexts: [String]
    public let preprocess: Preprocess
    public let threshold: Double
    /// Above this the guard's score says: not a photograph of the kind that the model knows. Nil
    /// for a model without a guard.
    public let guardThreshold: Double?
    /// A class whose probability is at least its own cannot be excluded, in the order of `labels`.
    /// Nil for a model without sets.
    public let setThresholds: [Double]?
    /// What the model's probabilities have to go through, a power and an offset for each class; nil
    /// where they are final.
    public let rescale: [Double]?
    public let card: String

    init(_ metadata: [String: String]) throws {
        func value<T: Decodable>(_ name: String, _: T.Type) throws -> T {
            guard let text = metadata["mobilekd." + name],
                  let list = try? JSONDecoder().decode([T].self, from: Data("[\(text)]".utf8))
            else {
                throw ModelError.notOurs(
                    "metadata field mobilekd.\(name) is missing or broken; export the model again")
            }
            return list[0]
        }
        let version = try value("schema_version", Int.self)
        guard (1...2).contains(version),
              try value("crop", String.self) == "center",
              try value("resize", String.self) == "pillow-bilinear",
              try value("color", String.self) == "RGB"
        else {
            throw ModelError.notOurs(
                "the model asks for a preprocess that this version does not know")
        }
        labels = try value("labels", [String].self)
        labelTexts = try value("label_texts", [String].self)
        preprocess = Preprocess(
            width: try value("input_width", Int.self), height: try value("input_height", Int.self))
        threshold = try value("threshold", Double.self)
        let guarded = try value("outputs", [String].self).contains("outside")
        guardThreshold = guarded ? try value("guard_threshold", Double.self) : nil
        let sets = metadata["mobilekd.set_thresholds"] != nil
        setThresholds = sets ? try value("set_thresholds", [Double].self) : nil
        // a model of this version gives probabilities that are not final
        rescale = version > 1 ? try value("rescale", [Double].self) : nil
        guard setThresholds.map({ $0.count == labels.count }) ?? true,
              rescale.map({ $0.count == labels.count + 1 && $0[0] > 0 }) ?? true
        else {
            throw ModelError.notOurs(
                "the model's thresholds are not one for each class; export the model again")
        }
        card = try value("card", String.self)
    }

    /// What the model gives, in the order of `labels` -> the probabilities that are meant
    /// (mobilekd/formats/artifact.py, Rescale).
    public func probabilities(_ given: [Double]) -> [Double] {
        guard let rescale else { return given }
        let evidence = zip(given, rescale.dropFirst()).map { rescale[0] * log(max($0, 1e-12)) + $1 }
        let highest = evidence.max()!
        let shares = evidence.map { exp($0 - highest) }
        let sum = shares.reduce(0, +)
        return shares.map { $0 / sum }
    }
}

/// One class with its calibrated probability.
public struct Candidate: Equatable {
    public let key, text: String
    public let probability: Double
}

/// The likeliest classes first. Below the threshold the answer is "not sure", and where the set
/// excludes the likeliest class.
public struct Answer {
    public let candidates: [Candidate]
    public let threshold: Double
    /// The photograph is of another kind than the model knows; nil where the model cannot say.
    public let outside: Bool?
    /// The classes that cannot be excluded, the likeliest first; nil for a model without sets, and
    /// where the photograph is outside.
    public let set: [Candidate]?

    /// The set in words.
    public var setText: String? {
        guard let set else { return nil }
        if set.isEmpty { return "none of the classes fits" }
        if set.count == candidates.count { return "no class can be excluded" }
        let names = set.map(\.text)
        let first = names.dropLast().joined(separator: ", ")
        return first.isEmpty ? names[0] : "\(first) or \(names[names.count - 1])"
    }

    /// To be shown in place of a decision where `outside` is true.
    public static let outsideText = "this does not look like the photographs this model knows"

    /// Nil is: not sure, or outside.
    public var decision: Candidate? {
        if outside == true { return nil }
        guard let best = candidates.first, best.probability >= threshold,
              set.map({ $0.contains(best) }) ?? true
        else { return nil }
        return best
    }

    public func top(_ count: Int) -> [Candidate] {
        Array(candidates.prefix(count))
    }
}

/// A research demonstration, not a medical device.
public final class Classifier {
    public let facts: Facts
    private let model: MLModel
    private let input, probabilities: String

    /// `package` is an artifact's `model.mlpackage`; Core ML compiles it first.
    public convenience init(
        package: URL, configuration: MLModelConfiguration = MLModelConfiguration()
    ) throws {
        let compiled = try MLModel.compileModel(at: package)
        try self.init(model: MLModel(contentsOf: compiled, configuration: configuration))
    }

    /// A model that Xcode compiled into the app.
    public init(model: MLModel) throws {
        let description = model.modelDescription
        guard let metadata = description.metadata[.creatorDefinedKey] as? [String: String],
              let input = description.inputDescriptionsByName.keys.first,
              let probabilities = description.predictedProbabilitiesName
        else { throw ModelError.notOurs("the model is no classifier of mobilekd") }
        (self.model, self.input, self.probabilities) = (model, input, probabilities)
        facts = try Facts(metadata)
    }

    public func classify(_ photograph: URL) throws -> Answer {
        try answer(facts.preprocess.apply(Pixels(contentsOf: photograph)))
    }

    /// `picture` is preprocessed already.
    public func answer(_ picture: Pixels) throws -> Answer {
        let found = try outputs(of: picture)
        let probabilities = facts.probabilities(found.probabilities)
        let inOrder = zip(zip(facts.labels, facts.labelTexts), probabilities)
            .map { Candidate(key: $0.0.0, text: $0.0.1, probability: $0.1) }
        func likeliest(_ one: Candidate, _ other: Candidate) -> Bool {
            one.probability > other.probability
        }
        let outside = found.score.flatMap { score in facts.guardThreshold.map { score > $0 } }
        let set = outside == true ? nil : facts.setThresholds.map { least in
            zip(inOrder, least).filter { $0.probability >= $1 }.map(\.0).sorted(by: likeliest)
        }
        return Answer(
            candidates: inOrder.sorted(by: likeliest), threshold: facts.threshold,
            outside: outside, set: set)
    }

    /// What the model itself gives, in the order of `facts.labels`.
    public func probabilities(of picture: Pixels) throws -> [Double] {
        try outputs(of: picture).probabilities
    }

    /// The guard's score, from 0 (the middle of what it knows) to 1; nil without a guard.
    public func score(of picture: Pixels) throws -> Double? {
        try outputs(of: picture).score
    }

    private func outputs(of picture: Pixels) throws -> (probabilities: [Double], score: Double?) {
        let image = MLFeatureValue(pixelBuffer: try picture.pixelBuffer())
        let features = try MLDictionaryFeatureProvider(dictionary: [input: image])
        let given = try model.prediction(from: features)
        let values = given.featureValue(for: probabilities)
        guard let byLabel = values?.dictionaryValue as? [String: NSNumber],
              Set(byLabel.keys) == Set(facts.labels)
        else { throw ModelError.notOurs("the model's labels are not those in its metadata") }
        let ordered = facts.labels.map { byLabel[$0]!.doubleValue }
        guard facts.guardThreshold != nil else { return (ordered, nil) }
        guard let score = given.featureValue(for: "outside")?.multiArrayValue, score.count == 1,
              score[0].doubleValue.isFinite
        else { throw ModelError.notOurs("the model gives no score of its guard") }
        return (ordered, score[0].doubleValue)
    }
}
