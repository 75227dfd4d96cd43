/// The one preprocess of the artifact (mobilekd/formats/preprocess.py): centre crop to the model's
/// aspect ratio, then `resize`.
/// Normalisation is inside the model.

/// Left and top belong to it, right and bottom no more.
public struct Box: Equatable {
    public let left, top, right, bottom: Int

    public init(left: Int, top: Int, right: Int, bottom: Int) {
        (self.left, self.top, self.right, self.bottom) = (left, top, right, bottom)
    }
}

public struct Preprocess {
    public let width, height: Int

    public init(width: Int, height: Int) {
        (self.width, self.height) = (width, height)
    }

    /// The largest centred box with the model's aspect ratio, in whole pixels.
    public func cropBox(width photoWidth: Int, height photoHeight: Int) -> Box {
        if photoWidth * height > photoHeight * width {
            let cropped = max(1, (photoHeight * width + height / 2) / height)
            let left = (photoWidth - cropped) / 2
            return Box(left: left, top: 0, right: left + cropped, bottom: photoHeight)
        }
        let cropped = max(1, (photoWidth * height + width / 2) / width)
        let top = (photoHeight - cropped) / 2
        return Box(left: 0, top: top, right: photoWidth, bottom: top + cropped)
    }

    /// An upright photograph as the model's input.
    public func apply(_ photograph: Pixels) -> Pixels {
        let box = cropBox(width: photograph.width, height: photograph.height)
        return resize(photograph, box: box, width: width, height: height)
    }
}
