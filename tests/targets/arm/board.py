"""Write what the kernel of a Raspberry Pi shows in /proc and /sys into a folder: `board.py pi2|pi3|pi4|pi5 FOLDER`.

The interpreters read there which processor they run on and choose their kernels by it. If they find no description,
they do without their fast kernels. Emulation alone would show them the PC it runs on. The values come from published
descriptions of the boards, not from a board.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Board:
    model: str
    part: int  # ARM's number of the processor
    revision: int
    megahertz: int
    features: str
    caches: tuple[tuple[int, str, int, bool], ...]  # level, kind, kB, shared by all cores
    variant: int = 0
    architecture: int = 8


_BASE = "fp asimd evtstrm crc32 cpuid"
BOARDS = {
    "pi2": Board(
        "Raspberry Pi 2 Model B Rev 1.1",
        0xC07,
        5,
        900,
        "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm",
        ((1, "Data", 32, False), (1, "Instruction", 32, False), (2, "Unified", 512, True)),
        architecture=7,
    ),
    "pi3": Board(
        "Raspberry Pi 3 Model B Plus Rev 1.3",
        0xD03,
        4,
        1400,
        _BASE,
        ((1, "Data", 32, False), (1, "Instruction", 32, False), (2, "Unified", 512, True)),
    ),
    "pi4": Board(
        "Raspberry Pi 4 Model B Rev 1.5",
        0xD08,
        3,
        1800,
        _BASE,
        ((1, "Data", 32, False), (1, "Instruction", 48, False), (2, "Unified", 1024, True)),
    ),
    "pi5": Board(
        "Raspberry Pi 5 Model B Rev 1.0",
        0xD0B,
        1,
        2400,
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
        (
            (1, "Data", 64, False),
            (1, "Instruction", 64, False),
            (2, "Unified", 512, False),
            (3, "Unified", 2048, True),
        ),
        variant=4,
    ),
}
CORES = range(4)


def files(board: Board) -> dict[str, str]:
    """Paths below the root, and the content of each."""
    contents = {
        "proc/cpuinfo": "".join(
            f"processor\t: {core}\nBogoMIPS\t: 108.00\nFeatures\t: {board.features}\nCPU implementer\t: 0x41\n"
            f"CPU architecture: {board.architecture}\nCPU variant\t: {board.variant:#x}\nCPU part\t: {board.part:#x}\n"
            f"CPU revision\t: {board.revision}\n\n"
            for core in CORES
        )
        + f"Model\t\t: {board.model}\n",
        "proc/device-tree/model": board.model + "\0",
        "sys/class/thermal/thermal_zone0/temp": "48312\n",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    }
    cpu = "sys/devices/system/cpu"
    contents |= {f"{cpu}/{name}": "0-3\n" for name in ("possible", "present", "online")}
    for core in CORES:
        core_folder = f"{cpu}/cpu{core}"
        contents |= {
            f"{core_folder}/cpufreq/cpuinfo_max_freq": f"{1000 * board.megahertz}\n",
            f"{core_folder}/cpufreq/cpuinfo_min_freq": "600000\n",
            f"{core_folder}/topology/physical_package_id": "0\n",
            f"{core_folder}/topology/core_id": f"{core}\n",
            f"{core_folder}/topology/core_siblings_list": "0-3\n",
            f"{core_folder}/topology/thread_siblings_list": f"{core}\n",
        }
        for index, (level, kind, kilobytes, shared) in enumerate(board.caches):
            cache = f"{core_folder}/cache/index{index}"
            contents |= {
                f"{cache}/level": f"{level}\n",
                f"{cache}/type": f"{kind}\n",
                f"{cache}/size": f"{kilobytes}K\n",
                f"{cache}/shared_cpu_list": "0-3\n" if shared else f"{core}\n",
                f"{cache}/coherency_line_size": "64\n",
            }
    return contents


def main() -> None:
    folder = Path(sys.argv[2])
    for name, content in files(BOARDS[sys.argv[1]]).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


if __name__ == "__main__":
    main()
