import CoreGraphics
import CoreVideo
import Foundation
import ImageIO

public enum PhotographError: Error {
    case unreadable(URL)
    case noPixelBuffer
}

/// Red, green, blue, row after row, 8 bits each.
public struct Pixels: Equatable {
    public let width, height: Int
    public let rgb: [UInt8]

    public init(width: Int, height: Int, rgb: [UInt8]) {
        precondition(rgb.count == width * height * 3)
        (self.width, self.height, self.rgb) = (width, height, rgb)
    }

    /// Above this many pixels a photograph is subsampled by 2, 4 or 8 while it is decoded.
    static let huge = 12_000_000

    /// Decode a photograph upright in sRGB, whatever its own colour space is; transparent pixels
    /// are laid over white.
    public init(contentsOf url: URL) throws {
        guard let source = CGImageSourceCreateWithURL(url as CFURL, nil),
              let facts = CGImageSourceCopyPropertiesAtIndex(source, 0, nil) as? [CFString: Any],
              let fullWidth = facts[kCGImagePropertyPixelWidth] as? Int,
              let fullHeight = facts[kCGImagePropertyPixelHeight] as? Int
        else { throw PhotographError.unreadable(url) }
        var factor = 1
        while factor < 8 && (fullWidth / factor) * (fullHeight / factor) > Pixels.huge {
            factor *= 2
        }
        let options = factor > 1 ? [kCGImageSourceSubsampleFactor: factor] as CFDictionary : nil
        guard let image = CGImageSourceCreateImageAtIndex(source, 0, options),
              let stored = Pixels(image)
        else { throw PhotographError.unreadable(url) }
        self = stored.upright(orientation: facts[kCGImagePropertyOrientation] as? Int ?? 1)
    }

    /// Drawn into sRGB. Core Graphics calls numbers without a profile device RGB, which are sRGB
    /// here; naming them so keeps them as they are.
    init?(_ image: CGImage) {
        guard let space = CGColorSpace(name: CGColorSpace.sRGB) else { return nil }
        let device = image.colorSpace == nil || image.colorSpace == CGColorSpaceCreateDeviceRGB()
        let named = device ? image.copy(colorSpace: space) ?? image : image
        guard let context = CGContext(
            data: nil, width: image.width, height: image.height, bitsPerComponent: 8,
            bytesPerRow: image.width * 4,
            space: space, bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
        else { return nil }
        let all = CGRect(x: 0, y: 0, width: image.width, height: image.height)
        context.setFillColor(red: 1, green: 1, blue: 1, alpha: 1)
        context.fill(all)
        context.draw(named, in: all)
        guard let data = context.data else { return nil }
        let bytes = data.bindMemory(to: UInt8.self, capacity: image.width * image.height * 4)
        var rgb = [UInt8](repeating: 0, count: image.width * image.height * 3)
        for pixel in 0..<(image.width * image.height) {
            for channel in 0..<3 { rgb[pixel * 3 + channel] = bytes[pixel * 4 + channel] }
        }
        self.init(width: image.width, height: image.height, rgb: rgb)
    }

    /// EXIF orientations 1 to 8; anything else counts as upright.
    func upright(orientation: Int) -> Pixels {
        guard (2...8).contains(orientation) else { return self }
        let turned = orientation >= 5
        let (newWidth, newHeight) = turned ? (height, width) : (width, height)
        var result = [UInt8](repeating: 0, count: rgb.count)
        for y in 0..<newHeight {
            for x in 0..<newWidth {
                let from: (x: Int, y: Int)
                switch orientation {
                case 2: from = (width - 1 - x, y)
                case 3: from = (width - 1 - x, height - 1 - y)
                case 4: from = (x, height - 1 - y)
                case 5: from = (y, x)
                case 6: from = (y, height - 1 - x)
                case 7: from = (width - 1 - y, height - 1 - x)
                default: from = (width - 1 - y, x)
                }
                for channel in 0..<3 {
                    let value = rgb[(from.y * width + from.x) * 3 + channel]
                    result[(y * newWidth + x) * 3 + channel] = value
                }
            }
        }
        return Pixels(width: newWidth, height: newHeight, rgb: result)
    }

    /// What Core ML takes for an image input; without a colour space attached it hands the numbers
    /// on as they are.
    func pixelBuffer() throws -> CVPixelBuffer {
        var made: CVPixelBuffer?
        CVPixelBufferCreate(
            kCFAllocatorDefault, width, height, kCVPixelFormatType_32BGRA, nil, &made)
        guard let buffer = made else { throw PhotographError.noPixelBuffer }
        CVPixelBufferLockBaseAddress(buffer, [])
        defer { CVPixelBufferUnlockBaseAddress(buffer, []) }
        guard let base = CVPixelBufferGetBaseAddress(buffer) else {
            throw PhotographError.noPixelBuffer
        }
        let stride = CVPixelBufferGetBytesPerRow(buffer)
        let bytes = base.bindMemory(to: UInt8.self, capacity: stride * height)
        for y in 0..<height {
            for x in 0..<width {
                let from = (y * width + x) * 3, to = y * stride + x * 4
                (bytes[to], bytes[to + 1]) = (rgb[from + 2], rgb[from + 1])
                (bytes[to + 2], bytes[to + 3]) = (rgb[from], 255)
            }
        }
        return buffer
    }
}
