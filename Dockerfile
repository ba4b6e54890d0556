# docker build -t dds . && docker run --gpus all -v "$PWD/runs:/dds/runs" dds --config seg_scenes.yaml
FROM python:3.12-slim

# PyTorch's wheels bring CUDA; the host needs only the NVIDIA driver and the container toolkit.
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 MPLBACKEND=agg
WORKDIR /dds

COPY pyproject.toml README.md LICENSE ./
COPY dds dds
COPY evaluate.py train.py ./
RUN pip install -e .

ENTRYPOINT ["python", "evaluate.py"]
