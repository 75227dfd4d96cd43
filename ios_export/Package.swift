// swift-tools-version:5.7
import PackageDescription

let package = Package(
    name: "LesionClassifier",
    platforms: [.iOS(.v15), .macOS(.v12)],
    products: [.library(name: "LesionClassifier", targets: ["LesionClassifier"])],
    targets: [
        .target(name: "LesionClassifier"),
        .testTarget(
            name: "LesionClassifierTests",
            dependencies: ["LesionClassifier"],
            resources: [.copy("resize.json")]
        ),
    ]
)
