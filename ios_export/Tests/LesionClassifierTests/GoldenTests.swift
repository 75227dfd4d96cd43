import Foundation
import XCTest
@testable import LesionClassifier

/// The artifact's golden set. `MOBILEKD_ARTIFACT=/path/to/artifacts/NAME-coreml-fp16 swift test`
final class GoldenTests: XCTestCase {
    struct Index: Decodable {
        let count, height, width, classes: Int
        let images: [String]
        let max_error: Double
    }

    private func artifact() throws -> URL {
        guard let path = ProcessInfo.processInfo.environment["MOBILEKD_ARTIFACT"] else {
            throw XCTSkip("set MOBILEKD_ARTIFACT to an exported Core ML artifact")
        }
        return URL(fileURLWithPath: path)
    }

    private func golden() throws -> (Index, inputs: [UInt8], probabilities: [Float], folder: URL) {
        let folder = try artifact().appendingPathComponent("golden")
        let document = try Data(contentsOf: folder.appendingPathComponent("golden.json"))
        let index = try JSONDecoder().decode(Index.self, from: document)
        let inputs = [UInt8](try Data(contentsOf: folder.appendingPathComponent("inputs.u8")))
        let raw = try Data(contentsOf: folder.appendingPathComponent("probabilities.f32"))
        let probabilities = raw.withUnsafeBytes { bytes in
            (0..<(raw.count / 4)).map { number -> Float in
                let bits = bytes.loadUnaligned(fromByteOffset: number * 4, as: UInt32.self)
                return Float(bitPattern: UInt32(littleEndian: bits))
            }
        }
        XCTAssertEqual(inputs.count, index.count * 3 * index.height * index.width)
        XCTAssertEqual(probabilities.count, index.count * index.classes)
        return (index, inputs, probabilities, folder)
    }

    /// The stored input is planes, `[3, height, width]`.
    private func picture(_ number: Int, _ index: Index, _ inputs: [UInt8]) -> Pixels {
        let plane = index.height * index.width
        let start = number * 3 * plane
        let rgb = (0..<plane).flatMap { pixel in
            (0..<3).map { inputs[start + $0 * plane + pixel] }
        }
        return Pixels(width: index.width, height: index.height, rgb: rgb)
    }

    func testCoreMLGivesTheGoldenAnswers() throws {
        let (index, inputs, expected, _) = try golden()
        let package = try artifact().appendingPathComponent("model.mlpackage")
        let classifier = try Classifier(package: package)
        for number in 0..<index.count {
            let found = try classifier.probabilities(of: picture(number, index, inputs))
            for label in 0..<index.classes {
                let golden = Double(expected[number * index.classes + label])
                XCTAssertEqual(found[label], golden, accuracy: index.max_error)
            }
        }
    }

    func testTheGuardRefusesTheSamePhotographs() throws {
        let (index, inputs, _, folder) = try golden()
        let package = try artifact().appendingPathComponent("model.mlpackage")
        let classifier = try Classifier(package: package)
        guard let threshold = classifier.facts.guardThreshold else {
            throw XCTSkip("this model has no guard")
        }
        let raw = try Data(contentsOf: folder.appendingPathComponent("outside.f32"))
        let scores = raw.withUnsafeBytes { bytes in
            (0..<index.count).map { number -> Float in
                let bits = bytes.loadUnaligned(fromByteOffset: number * 4, as: UInt32.self)
                return Float(bitPattern: UInt32(littleEndian: bits))
            }
        }
        for number in 0..<index.count {
            let answer = try classifier.answer(picture(number, index, inputs))
            XCTAssertEqual(answer.outside, Double(scores[number]) > threshold)
        }
    }

    struct Decision: Decodable {
        let answer: String
        let set: [String]?
        let outside: Bool?
    }

    func testTheDecisionsAreThoseOfThePython() throws {
        let (index, inputs, _, folder) = try golden()
        let file = folder.appendingPathComponent("decisions.json")
        guard FileManager.default.fileExists(atPath: file.path) else {
            throw XCTSkip("this artifact was made before its decisions were kept")
        }
        let expected = try JSONDecoder().decode([Decision].self, from: Data(contentsOf: file))
        let package = try artifact().appendingPathComponent("model.mlpackage")
        let classifier = try Classifier(package: package)
        for number in 0..<index.count {
            let answer = try classifier.answer(picture(number, index, inputs))
            let word = answer.outside == true ? "outside" : answer.decision?.key ?? "not sure"
            XCTAssertEqual(word, expected[number].answer, index.images[number])
            XCTAssertEqual(answer.set?.map(\.key), expected[number].set, index.images[number])
            XCTAssertEqual(answer.outside, expected[number].outside, index.images[number])
        }
    }

    func testPhotographsBecomeTheGoldenInputs() throws {
        let (index, inputs, _, folder) = try golden()
        let preprocess = Preprocess(width: index.width, height: index.height)
        for (number, name) in index.images.enumerated() {
            let photograph = try Pixels(contentsOf: folder.appendingPathComponent(name))
            let found = preprocess.apply(photograph)
            let expected = picture(number, index, inputs)
            let apart = zip(found.rgb, expected.rgb).map { abs(Int($0) - Int($1)) }.max() ?? 0
            // JPEG decoders may differ by a few levels before the resize averages them, and so may
            // conversions to sRGB (a hyphen in the name); any other PNG leaves no room
            let exact = name.hasSuffix(".png") && !name.contains("-")
            XCTAssertLessThanOrEqual(apart, exact ? 0 : 4, name)
        }
    }
}
