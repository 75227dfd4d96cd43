/// Pillow's resize with a box, to the bit (src/libImaging/Resample.c): a triangle filter widened by
/// the reduction, weights in 22-bit fixed point, first along rows into an 8-bit picture, then along
/// columns. As there, the filter may reach beyond the box, but never beyond the photograph.

private let precision = 32 - 8 - 2

/// For every output position the first input position and the fixed-point weights from there on.
private struct Weights {
    var first: [Int] = []
    var fixed: [[Int]] = []

    init(inSize: Int, from: Int, until: Int, outSize: Int) {
        let scale = Double(until - from) / Double(outSize)
        let support = max(scale, 1)
        for out in 0..<outSize {
            let center = Double(from) + (Double(out) + 0.5) * scale
            let low = max(Int(center - support + 0.5), 0)
            let high = min(Int(center + support + 0.5), inSize)
            let exact = (low..<high).map { triangle((Double($0) - center + 0.5) * (1 / support)) }
            let sum = exact.reduce(0, +)
            first.append(low)
            let whole = Double(1 << precision)
            fixed.append(exact.map { Int(0.5 + (sum != 0 ? $0 / sum : $0) * whole) })
        }
    }
}

private func triangle(_ x: Double) -> Double {
    abs(x) < 1 ? 1 - abs(x) : 0
}

private func clip(_ sum: Int) -> UInt8 {
    UInt8(min(max(sum >> precision, 0), 255))
}

/// The part `box` of `photograph`, antialiased, as `width` x `height` pixels.
public func resize(_ photograph: Pixels, box: Box, width: Int, height: Int) -> Pixels {
    let columns = Weights(
        inSize: photograph.width, from: box.left, until: box.right, outSize: width)
    let rows = Weights(
        inSize: photograph.height, from: box.top, until: box.bottom, outSize: height)
    let top = rows.first[0]
    let bottom = rows.first[height - 1] + rows.fixed[height - 1].count
    let half = 1 << (precision - 1)
    // the 8-bit picture between the two passes
    var narrow = [UInt8](repeating: 0, count: (bottom - top) * width * 3)
    for y in top..<bottom {
        for x in 0..<width {
            for channel in 0..<3 {
                var sum = half
                var at = (y * photograph.width + columns.first[x]) * 3 + channel
                for weight in columns.fixed[x] {
                    sum += Int(photograph.rgb[at]) * weight
                    at += 3
                }
                narrow[((y - top) * width + x) * 3 + channel] = clip(sum)
            }
        }
    }
    var result = [UInt8](repeating: 0, count: width * height * 3)
    for y in 0..<height {
        for column in 0..<(width * 3) {
            var sum = half
            var at = (rows.first[y] - top) * width * 3 + column
            for weight in rows.fixed[y] {
                sum += Int(narrow[at]) * weight
                at += width * 3
            }
            result[y * width * 3 + column] = clip(sum)
        }
    }
    return Pixels(width: width, height: height, rgb: result)
}
