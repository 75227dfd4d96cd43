import Foundation
import XCTest
@testable import LesionClassifier

/// Vectors that Pillow made (`ios_export/vectors.py`); a test on the Python side keeps them so.
final class PreprocessTests: XCTestCase {
    struct Vector: Decodable {
        let width, height, outWidth, outHeight: Int
        let box: [Int]
        let input, output: [UInt8]
    }

    func testResizeEqualsPillow() throws {
        let file = try XCTUnwrap(Bundle.module.url(forResource: "resize", withExtension: "json"))
        let vectors = try JSONDecoder().decode([Vector].self, from: Data(contentsOf: file))
        XCTAssertGreaterThan(vectors.count, 5)
        for vector in vectors {
            let preprocess = Preprocess(width: vector.outWidth, height: vector.outHeight)
            let box = preprocess.cropBox(width: vector.width, height: vector.height)
            XCTAssertEqual([box.left, box.top, box.right, box.bottom], vector.box)
            let photograph = Pixels(width: vector.width, height: vector.height, rgb: vector.input)
            let size = "\(vector.width) x \(vector.height)"
            XCTAssertEqual(preprocess.apply(photograph).rgb, vector.output, size)
        }
    }

    func testOrientationsUndoEachOther() {
        let photograph = Pixels(width: 3, height: 2, rgb: (0..<18).map { UInt8($0) })
        for (there, back) in [(2, 2), (3, 3), (4, 4), (5, 5), (6, 8), (7, 7), (8, 6)] {
            let turned = photograph.upright(orientation: there)
            XCTAssertEqual(turned.upright(orientation: back), photograph)
        }
        // EXIF 6: the camera lay on its side, turn clockwise; the stored lower left corner comes up
        // left
        XCTAssertEqual(Array(photograph.upright(orientation: 6).rgb.prefix(3)), [9, 10, 11])
    }

    func testNotSureBelowTheThreshold() {
        let candidate = Candidate(key: "nv", text: "naevus", probability: 0.4)
        func decision(_ threshold: Double) -> Candidate? {
            Answer(candidates: [candidate], threshold: threshold, outside: nil, set: nil).decision
        }
        XCTAssertNil(decision(0.5))
        XCTAssertEqual(decision(0.4), candidate)
    }

    func testNotSureWhereTheSetExcludesTheLikeliestClass() {
        let nevus = Candidate(key: "nv", text: "naevus", probability: 0.55)
        let melanoma = Candidate(key: "mel", text: "melanoma", probability: 0.25)
        func decision(_ set: [Candidate]?) -> Candidate? {
            Answer(candidates: [nevus, melanoma], threshold: 0.4, outside: false, set: set).decision
        }
        XCTAssertNil(decision([melanoma]))
        XCTAssertNil(decision([]))
        XCTAssertEqual(decision([nevus, melanoma]), nevus)
        XCTAssertEqual(decision(nil), nevus)
    }
}
