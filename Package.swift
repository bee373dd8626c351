// swift-tools-version: 6.2
// The package: library targets by stage of the data flow, and the executable `convnn`.
import PackageDescription

let strict: [SwiftSetting] = [.treatAllWarnings(as: .error)]
// Vectors are aligned more strictly than what they are read from, and only some CPUs mind.
let strictC: [CSetting] = [
  .treatAllWarnings(as: .error), .enableWarning("all"), .enableWarning("cast-align"),
]

func stage(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func suite(
  _ name: String, _ dependencies: [Target.Dependency], resources: [Resource] = []
) -> Target {
  .testTarget(
    name: name, dependencies: dependencies + ["TestSupport"], resources: resources,
    swiftSettings: strict)
}

func system(_ name: String, pkgConfig: String, debian package: String) -> Target {
  .systemLibrary(name: name, pkgConfig: pkgConfig, providers: [.apt([package])])
}

let package = Package(
  name: "convnn",
  products: [
    .executable(name: "convnn", targets: ["convnn"]),
    .executable(name: "convnn-launch", targets: ["Launcher"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
  ],
  targets: [
    system("COpenBLAS", pkgConfig: "openblas", debian: "libopenblas-dev"),
    system("COpenMPI", pkgConfig: "ompi-c", debian: "libopenmpi-dev"),
    system("CTurboJPEG", pkgConfig: "libturbojpeg", debian: "libturbojpeg0-dev"),
    system("CLibJPEG", pkgConfig: "libjpeg", debian: "libjpeg-dev"),
    system("CPNG", pkgConfig: "libpng", debian: "libpng-dev"),
    system("CXXHash", pkgConfig: "libxxhash", debian: "libxxhash-dev"),

    // The only code that sees mpi.h.
    .target(name: "CMessagePassing", dependencies: ["COpenMPI"], cSettings: strictC),
    // libjpeg's errors are long jumps, which must not cross Swift.
    .target(name: "CJPEGDecoding", dependencies: ["CLibJPEG"], cSettings: strictC),
    // What Swift cannot vectorise without flags that a package may not set.
    .target(name: "CKernels", cSettings: strictC),

    stage("Diagnostics", []),
    stage("Conventions", []),
    stage("Files", ["CXXHash", "Diagnostics"]),
    stage("Tensors", ["CKernels", "COpenBLAS", "Diagnostics"]),
    stage("TensorFiles", ["Files", "Diagnostics"]),
    stage(
      "Datasets",
      [
        "Tensors", "Files", "CKernels", "CJPEGDecoding", "CTurboJPEG", "CPNG", "Diagnostics",
      ]),
    stage("Models", ["Tensors", "TensorFiles", "Files", "CKernels", "Diagnostics"]),
    stage("Collectives", ["Tensors", "CKernels", "CMessagePassing", "Conventions", "Diagnostics"]),
    stage("Optimizers", ["Tensors", "CKernels", "Diagnostics"]),
    stage("Reports", ["Files", "Diagnostics"]),
    stage(
      "Training",
      [
        "Tensors", "TensorFiles", "Files", "Datasets", "Models", "Collectives", "Optimizers",
        "Reports", "CKernels", "Conventions", "Diagnostics",
      ]),
    .executableTarget(
      name: "convnn",
      dependencies: [
        "Training", "Tensors", "TensorFiles", "Datasets", "Models", "Collectives", "Optimizers",
        "Reports", "Conventions", "Diagnostics", "CKernels",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict),
    // Needs no MPI: it says what is wrong with it.
    .executableTarget(
      name: "Launcher", dependencies: ["Reports", "Conventions", "Diagnostics"],
      resources: [.embedInCode("look-around.sh")], swiftSettings: strict),

    .target(
      name: "TestSupport", dependencies: ["Tensors", "Diagnostics"],
      path: "Tests/TestSupport", swiftSettings: strict),
    suite("DiagnosticsTests", ["Diagnostics"]),
    // Files of CKernels, compiled once more: for CPUs that lack what they are for.
    .target(
      name: "EmulatedKernels", dependencies: ["CKernels"], path: "Tests/EmulatedKernels",
      cSettings: strictC + [.headerSearchPath("shim")]),
    suite("KernelsTests", ["CKernels", "EmulatedKernels"]),
    suite("TensorsTests", ["Tensors", "CKernels"]),
    suite("FilesTests", ["Files", "Diagnostics"]),
    suite("TensorFilesTests", ["TensorFiles", "Diagnostics"]),
    .target(
      name: "CJPEGEncoding", dependencies: ["CLibJPEG"], path: "Tests/CJPEGEncoding",
      cSettings: strictC),
    suite("DatasetsTests", ["Datasets", "Tensors", "Files", "CKernels", "CJPEGEncoding"]),
    suite("ModelsTests", ["Models", "Tensors", "TensorFiles", "CKernels"]),
    suite(
      "CollectivesTests",
      ["Collectives", "Tensors", "CMessagePassing", "CKernels", "Diagnostics"]),
    suite("OptimizersTests", ["Optimizers", "Tensors", "CKernels"]),
    suite("ReportsTests", ["Reports", "Diagnostics"]),
    suite(
      "TrainingTests",
      [
        "Training", "Models", "Datasets", "Collectives", "Optimizers", "Reports", "TensorFiles",
        "Tensors", "Diagnostics",
      ]),
    suite("LauncherTests", ["Launcher", "Reports", "Conventions", "Diagnostics"]),
    suite("ConvnnTests", ["convnn", "Training", "Models", "Datasets", "TensorFiles", "Files"]),
  ],
  swiftLanguageModes: [.v6]
)
