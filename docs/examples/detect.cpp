// Detections in a binary PPM image (P6), with ONNX Runtime's C++ interface and no other library.
//
//   regard export yolov5n.pt --format onnx --nms --imgsz 640 -o detector.onnx
//   g++ -std=c++17 detect.cpp -I onnxruntime/include -L onnxruntime/lib -lonnxruntime -o detect
//   ./detect detector.onnx street.ppm
//
// It prints one line per detection: left, top, right, bottom in pixels of the image, score, index of the class.
// The image is padded on the right and below to sides that the largest stride divides; it is not scaled, so give one of
// the size for which the file was exported.
#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

struct Image {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> rgb;
};

Image read_ppm(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string kind;
  Image image;
  int most = 0;
  if (!(file >> kind >> image.width >> image.height >> most) || kind != "P6" || most != 255 || image.width < 1 ||
      image.height < 1 || image.width > 16384 || image.height > 16384)
    throw std::runtime_error(path + ": not a binary PPM image of 8 bits");
  file.get();  // the one space before the pixels
  image.rgb.resize(static_cast<size_t>(image.width * image.height * 3));
  if (!file.read(reinterpret_cast<char*>(image.rgb.data()), static_cast<std::streamsize>(image.rgb.size())))
    throw std::runtime_error(path + ": truncated");
  return image;
}

int64_t padded(int64_t side, int64_t stride) { return (side + stride - 1) / stride * stride; }

int main(int count, char** arguments) try {
  if (count != 3) {
    std::cerr << "usage: detect DETECTOR.onnx IMAGE.ppm\n";
    return 2;
  }
  const Image image = read_ppm(arguments[2]);
  const int64_t stride = 32, width = padded(image.width, stride), height = padded(image.height, stride);
  std::vector<float> pixels(static_cast<size_t>(3 * width * height), 114.0f / 255);  // planes of R, G and B
  for (int64_t y = 0; y < image.height; ++y)
    for (int64_t x = 0; x < image.width; ++x)
      for (int64_t c = 0; c < 3; ++c)
        pixels[(c * height + y) * width + x] = image.rgb[(y * image.width + x) * 3 + c] / 255.0f;

  Ort::Env environment(ORT_LOGGING_LEVEL_WARNING, "detect");
  Ort::SessionOptions options;
#ifdef _WIN32
  const std::string name(arguments[1]);
  Ort::Session session(environment, std::wstring(name.begin(), name.end()).c_str(), options);
#else
  Ort::Session session(environment, arguments[1], options);
#endif
  const std::vector<int64_t> shape{1, 3, height, width};
  const Ort::MemoryInfo memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  Ort::Value input = Ort::Value::CreateTensor<float>(memory, pixels.data(), pixels.size(), shape.data(), shape.size());
  Ort::AllocatorWithDefaultOptions allocator;
  const auto input_name = session.GetInputNameAllocated(0, allocator);
  const char* inputs[] = {input_name.get()};
  const char* outputs[] = {"detections"};
  const auto found = session.Run(Ort::RunOptions{nullptr}, inputs, &input, 1, outputs, 1);

  const int64_t rows = found[0].GetTensorTypeAndShapeInfo().GetShape()[0];
  const float* row = found[0].GetTensorData<float>();  // image, left, top, right, bottom, score, class
  for (int64_t i = 0; i < rows; ++i, row += 7)
    std::printf("%.2f %.2f %.2f %.2f %.4f %d\n", row[1], row[2], row[3], row[4], row[5], static_cast<int>(row[6]));
  return 0;
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << '\n';
  return 1;
}
