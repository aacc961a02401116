// The part of ONNX Runtime's C++ interface that docs/examples/detect.cpp uses, as its documentation declares it, so that
// the example is compiled where the library has not been installed. Nothing here runs.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

enum OrtLoggingLevel { ORT_LOGGING_LEVEL_WARNING = 2 };
enum OrtAllocatorType { OrtArenaAllocator = 1 };
enum OrtMemType { OrtMemTypeDefault = 0 };
#ifdef _WIN32
#define ORTCHAR_T wchar_t
#else
#define ORTCHAR_T char
#endif

namespace Ort {
struct Env {
  Env(OrtLoggingLevel level, const char* name);
};
struct SessionOptions {
  SessionOptions();
};
struct RunOptions {
  explicit RunOptions(std::nullptr_t);
};
struct MemoryInfo {
  static MemoryInfo CreateCpu(OrtAllocatorType kind, OrtMemType memory);
};
struct TensorTypeAndShapeInfo {
  std::vector<int64_t> GetShape() const;
};
struct Value {
  template <typename T>
  static Value CreateTensor(const MemoryInfo& info, T* data, size_t count, const int64_t* shape, size_t rank);
  TensorTypeAndShapeInfo GetTensorTypeAndShapeInfo() const;
  template <typename T>
  const T* GetTensorData() const;
};
struct AllocatorWithDefaultOptions {
  AllocatorWithDefaultOptions();
};
using AllocatedStringPtr = std::unique_ptr<char, void (*)(char*)>;
struct ModelMetadata {
  AllocatedStringPtr LookupCustomMetadataMapAllocated(const char* key, AllocatorWithDefaultOptions& allocator) const;
};
struct Session {
  Session(const Env& environment, const ORTCHAR_T* path, const SessionOptions& options);
  AllocatedStringPtr GetInputNameAllocated(size_t index, AllocatorWithDefaultOptions& allocator) const;
  ModelMetadata GetModelMetadata() const;
  std::vector<Value> Run(const RunOptions& options, const char* const* input_names, const Value* inputs,
                         size_t input_count, const char* const* output_names, size_t output_count);
};
}  // namespace Ort
