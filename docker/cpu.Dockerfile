# regard without a GPU. Build in the root of a checkout: docker build -t regard:cpu -f docker/cpu.Dockerfile .
# Run, as the user who owns the folder, with a volume for compiled models:
# docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" -v regard-cache:/cache regard:cpu summary yolov5n
FROM python:3.12-slim

ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 HOME=/home/user REGARD_CACHE=/cache
WORKDIR /src
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY src ./src
RUN pip install --index-url https://download.pytorch.org/whl/cpu "torch>=2.4" "torchvision>=0.19" \
    && pip install ".[fast,hub]" \
    && useradd --create-home --uid 1000 user \
    && mkdir -p /cache /data && chmod 1777 /cache /data /home/user

VOLUME /cache
USER 1000
WORKDIR /data
ENTRYPOINT ["regard"]
CMD ["--help"]
