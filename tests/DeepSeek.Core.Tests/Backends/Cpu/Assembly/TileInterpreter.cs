using System.Runtime.InteropServices;
using Iced.Intel;

namespace DeepSeek.Core.Tests.Backends.Cpu.Assembly;

/// <summary>
/// Executes an assembled AMX kernel on a processor without AMX: decodes its machine code and does what the manual says of each instruction that the kernels use (Intel SDM vol. 2, tile
/// instructions), to real memory. Whatever a processor would fault on, and any access outside of the memory that was declared, is an exception.
/// </summary>
internal sealed unsafe class TileInterpreter : IDisposable
{
    private const int TileCount = 8, TileRows = 16, RowBytes = 64;

    private readonly byte* code;
    private readonly int length;
    private readonly List<(nint Start, long Bytes, bool Writable)>? declared;

    /// <param name="machineCode">The kernel.</param>
    /// <param name="memory">What it may touch, beside its own code and stack; null: anything.</param>
    public TileInterpreter(byte[] machineCode, List<(nint Start, long Bytes, bool Writable)>? memory)
    {
        length = machineCode.Length;
        code = (byte*)NativeMemory.AlignedAlloc((nuint)length, 64);
        machineCode.CopyTo(new Span<byte>(code, length));
        declared = memory;
    }

    public void Dispose() => NativeMemory.AlignedFree(code);

    /// <summary>Calls the kernel with its argument block.</summary>
    public void Call(long* fields) => new State(this).Run(fields);

    /// <summary>One call: registers, tiles, stack.</summary>
    private sealed class State(TileInterpreter owner)
    {
        private const int StackSlots = 16;
        private const ulong Return = 0xDEAD_BEEF;

        private readonly ulong[] registers = new ulong[16];
        private readonly ulong[] stack = new ulong[StackSlots];
        private readonly byte[][] tiles = [.. Enumerable.Range(0, TileCount).Select(_ => new byte[TileRows * RowBytes])];
        private readonly int[] rows = new int[TileCount], columns = new int[TileCount];
        private int depth;
        private bool configured, zero;

        public void Run(long* fields)
        {
            stack[depth++] = Return;
            for (int i = 0; i < registers.Length; i++) registers[i] = 0xCCCC_0000_0000_0000UL + (ulong)i; // what a caller happens to leave there
            ulong[] before = [.. registers];
            registers[Index(Register.RDI)] = (ulong)fields;
            Decoder decoder = Decoder.Create(64, new PointerReader(owner.code, owner.length), (ulong)owner.code);
            while (true)
            {
                decoder.Decode(out Instruction i);
                if (i.IsInvalid) throw new InvalidOperationException($"#UD: bytes that are no instruction, at {i.IP - (ulong)owner.code}");
                if (i.Code == Code.Retnq) break;
                if (Execute(i) is { } target)
                {
                    int offset = checked((int)(target - (ulong)owner.code));
                    decoder = Decoder.Create(64, new PointerReader(owner.code + offset, owner.length - offset), target);
                }
            }
            if (--depth != 0 || stack[0] != Return) throw new InvalidOperationException("the stack is not as it was found");
            if (configured) throw new InvalidOperationException("tiles are in use after the call");
            foreach (Register r in (Register[])[Register.RBX, Register.RBP, Register.R12, Register.R13, Register.R14, Register.R15])
                if (registers[Index(r)] != before[Index(r)]) throw new InvalidOperationException($"{r} is the caller's");
        }

        /// <summary>Where execution goes on; null: behind the instruction.</summary>
        private ulong? Execute(in Instruction i)
        {
            switch (i.Mnemonic)
            {
                case Mnemonic.Push: stack[depth++] = Get(i.Op0Register); return null;
                case Mnemonic.Pop: registers[Index(i.Op0Register)] = stack[--depth]; return null;
                case Mnemonic.Mov: registers[Index(i.Op0Register)] = Source(i, i.Op1Kind, i.Op1Register); return null;
                case Mnemonic.Add: Result(i, Get(i.Op0Register) + Source(i, i.Op1Kind, i.Op1Register)); return null;
                case Mnemonic.Shl: Result(i, Get(i.Op0Register) << i.Immediate8); return null;
                case Mnemonic.Dec: Result(i, Get(i.Op0Register) - 1); return null;
                case Mnemonic.Jne: return zero ? null : i.NearBranchTarget;
                case Mnemonic.Prefetcht1 or Mnemonic.Vzeroupper: return null;
                case Mnemonic.Ldtilecfg: Configure((byte*)Touch(Address(i), 64, write: false)); return null;
                case Mnemonic.Tilerelease:
                    NeedConfiguration();
                    configured = false;
                    return null;
                case Mnemonic.Tilezero: Array.Clear(tiles[Tile(i.Op0Register)]); return null;
                case Mnemonic.Tileloadd: Load(i, Tile(i.Op0Register)); return null;
                case Mnemonic.Tilestored: Store(i, Tile(i.Op1Register)); return null;
                case Mnemonic.Tdpbf16ps: MultiplyBrains(Tile(i.Op0Register), Tile(i.Op1Register), Tile(i.Op2Register)); return null;
                default: throw new NotSupportedException($"{i}: not among the instructions of the kernels");
            }
        }

        private void Result(in Instruction i, ulong value)
        {
            registers[Index(i.Op0Register)] = value;
            zero = value == 0;
        }

        private ulong Source(in Instruction i, OpKind kind, Register register) => kind switch
        {
            OpKind.Register => Get(register),
            OpKind.Memory => *(ulong*)Touch(Address(i), 8, write: false),
            _ => i.GetImmediate(1),
        };

        private ulong Get(Register r) => registers[Index(r)];

        private static int Index(Register r)
        {
            Register full = r.GetFullRegister();
            if (full is < Register.RAX or > Register.R15) throw new NotSupportedException($"{r}");
            // 32-bit destinations clear the upper half, which immediates and sums of these kernels leave clear anyway.
            return full - Register.RAX;
        }

        private ulong Address(in Instruction i)
        {
            if (i.IsIPRelativeMemoryOperand) return i.IPRelativeMemoryAddress;
            ulong address = Get(i.MemoryBase) + i.MemoryDisplacement64;
            return i.MemoryIndex == Register.None ? address : address + Get(i.MemoryIndex) * (ulong)i.MemoryIndexScale;
        }

        /// <summary>Checks that memory may be touched.</summary>
        private nint Touch(ulong address, int bytes, bool write)
        {
            nint at = (nint)address;
            if (owner.declared is null) return at;
            if (!write && at >= (nint)owner.code && at + bytes <= (nint)owner.code + owner.length) return at;
            foreach ((nint start, long size, bool writable) in owner.declared)
                if (at >= start && at + bytes <= start + size && (writable || !write)) return at;
            throw new InvalidOperationException($"{bytes} bytes at {at:x} are not the kernel's to {(write ? "write" : "read")}");
        }

        private void NeedConfiguration()
        {
            if (!configured) throw new InvalidOperationException("#UD: tiles are not configured");
        }

        private int Tile(Register r)
        {
            NeedConfiguration();
            int tile = r - Register.TMM0;
            if (rows[tile] == 0) throw new InvalidOperationException($"#UD: {r} is not configured");
            return tile;
        }

        private void Configure(byte* memory)
        {
            bool reserved = false;
            for (int b = 2; b < 16; b++) reserved |= memory[b] != 0;
            for (int b = 16 + 2 * TileCount; b < 48; b++) reserved |= memory[b] != 0;
            for (int b = 48 + TileCount; b < 64; b++) reserved |= memory[b] != 0;
            if (memory[0] != 1 || memory[1] != 0 || reserved) throw new InvalidOperationException("#GP: not a configuration of palette 1 from its first row on");
            for (int t = 0; t < TileCount; t++)
            {
                (columns[t], rows[t]) = (((ushort*)(memory + 16))[t], memory[48 + t]);
                if (columns[t] > RowBytes || rows[t] > TileRows || (columns[t] == 0) != (rows[t] == 0)) throw new InvalidOperationException($"#GP: tile {t} of {rows[t]} rows of {columns[t]} bytes");
                Array.Clear(tiles[t]);
            }
            configured = true;
        }

        /// <summary>Base and displacement, and the index, which is not an address but the distance of rows.</summary>
        private (ulong Address, ulong Stride) Rows(in Instruction i)
        {
            if (i.MemoryIndex == Register.None || i.MemoryIndexScale != 1) throw new InvalidOperationException($"{i}: no distance of rows");
            return (Get(i.MemoryBase) + i.MemoryDisplacement64, Get(i.MemoryIndex));
        }

        private void Load(in Instruction i, int tile)
        {
            (ulong address, ulong stride) = Rows(i);
            Array.Clear(tiles[tile]);
            for (int r = 0; r < rows[tile]; r++)
                new ReadOnlySpan<byte>((void*)Touch(address + stride * (ulong)r, columns[tile], write: false), columns[tile]).CopyTo(tiles[tile].AsSpan(r * RowBytes));
        }

        private void Store(in Instruction i, int tile)
        {
            (ulong address, ulong stride) = Rows(i);
            for (int r = 0; r < rows[tile]; r++)
                tiles[tile].AsSpan(r * RowBytes, columns[tile]).CopyTo(new Span<byte>((void*)Touch(address + stride * (ulong)r, columns[tile], write: true), columns[tile]));
        }

        /// <summary>TDPBF16PS: for each sum the even products and the odd ones apart, then both, then what was there.</summary>
        private void MultiplyBrains(int sum, int a, int b)
        {
            CheckShapes(sum, a, b);
            Span<float> sums = MemoryMarshal.Cast<byte, float>(tiles[sum].AsSpan());
            ReadOnlySpan<ushort> left = MemoryMarshal.Cast<byte, ushort>(tiles[a].AsSpan()), right = MemoryMarshal.Cast<byte, ushort>(tiles[b].AsSpan());
            for (int m = 0; m < rows[sum]; m++)
                for (int n = 0; n < columns[sum] / 4; n++)
                {
                    float even = 0, odd = 0;
                    for (int k = 0; k < columns[a] / 4; k++)
                    {
                        even = MathF.FusedMultiplyAdd(Brain(left[m * 32 + 2 * k]), Brain(right[k * 32 + 2 * n]), even);
                        odd = MathF.FusedMultiplyAdd(Brain(left[m * 32 + 2 * k + 1]), Brain(right[k * 32 + 2 * n + 1]), odd);
                    }
                    sums[m * 16 + n] += even + odd;
                }
        }

        private void CheckShapes(int sum, int a, int b)
        {
            if (sum == a || sum == b || a == b) throw new InvalidOperationException("#UD: the same tile twice");
            if (rows[sum] != rows[a] || columns[sum] != columns[b] || columns[a] != 4 * rows[b] || columns[sum] % 4 != 0 || columns[a] % 4 != 0)
                throw new InvalidOperationException("#UD: shapes of tiles that do not fit");
        }

        private static float Brain(ushort bits) => BitConverter.Int32BitsToSingle(bits << 16);
    }

    private sealed class PointerReader(byte* at, int length) : CodeReader
    {
        private int read;

        public override int ReadByte() => read < length ? at[read++] : -1;
    }
}
