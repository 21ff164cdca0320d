using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace DeepSeek.Core.Tests.Backends.Cpu.Assembly;

/// <summary>
/// Products of stored blocks with a tile of quantised tokens by 512-bit VNNI, without packing panels: 16 weight rows side by side are transposed in registers, so that each is a
/// lane, unpacked once and multiplied with all tokens. With up to four tokens, when memory is what there is to wait for, the rows of a panel come from 16 far places, each a
/// stream that the processor's prefetchers follow; with eight they are neighbours. No sum goes over lanes; each result is the same operations in the same order as <see cref="BytePanelAssembly"/>'s, bit for bit.
/// </summary>
/// <remarks>
/// Fields of the argument block, in 8-byte units. RowBytes: from a row of a panel to the next; PanelBytes: from a panel to the next. LiveRows: a mask of the rows whose results
/// are stored; Places: where they go with up to four tokens, 16 counts of numbers; PanelOutput: bytes from there to where the next panel's go. LiveTokens: how many of the tile's
/// tokens exist; Working: memory for what does not fit in registers. Tile: as in <see cref="BytePanelAssembly"/>.
/// </remarks>
/// <param name="tokens">Tokens of a tile: 1, 2, 4 or 8.</param>
internal abstract class StoredDotAssembly(int tokens) : KernelAssembler
{
    public const int Weights = 0, RowBytes = 1, Panels = 2, Units = 3, Tile = 4, Output = 5, OutputStride = 6, LiveRows = 7, LiveTokens = 8, Working = 9, PanelBytes = 10, Places = 11, PanelOutput = 12;

    private const int Rows = 16, Line = 64;

    private static readonly AssemblerRegister64[] Quarters = [r8, r9, r10, r11];

    /// <summary>Registers that are free while weights are unpacked: those of the sums.</summary>
    protected static readonly AssemblerRegisterZMM[] Spare = [Z[16], Z[17], Z[18], Z[19], Z[20], Z[21], Z[22], Z[23]];

    protected static readonly AssemblerRegisterZMM Bytes = Z[8], Scale = Z[9], Product = Z[10];

    protected int Tokens { get; } = tokens;

    protected int TileStep => 52 * Tokens;

    /// <summary>Whether rows of a panel come from far places.</summary>
    private bool Far => Tokens <= 4;

    /// <summary>How far ahead rows in far places are asked for, where the processor's prefetchers do not suffice; 0: they do.</summary>
    protected virtual int Ahead => 0;

    /// <summary>Bytes of a row that the loop's step reads.</summary>
    protected abstract int UnitBytes { get; }

    /// <summary>Sums of a few tokens go in several chains, because one would wait for itself.</summary>
    private int Chains => Tokens <= 2 ? 4 : Tokens == 4 ? 2 : 1;

    private int asked;

    private AssemblerRegisterZMM Acc(int token) => Z[24 + token];

    private AssemblerRegisterZMM Sum(int token, int chain) => Z[16 + Chains * token + chain];

    /// <summary>A row's bytes, relative to the loop's step.</summary>
    protected static AssemblerMemoryOperand W(int row, int offset)
    {
        AssemblerRegister64 quarter = Quarters[row / 4];
        return (row % 4) switch { 0 => quarter + offset, 1 => quarter + r13 + offset, 2 => quarter + r13 * 2 + offset, _ => quarter + r14 + offset };
    }

    protected override void Body()
    {
        Prepare();
        C.mov(r13, __[rdi + 8 * RowBytes]);
        C.lea(r14, __[r13 + r13 * 2]);
        C.mov(rbp, __[rdi + 8 * Weights]);
        C.mov(r15, __[rdi + 8 * Panels]);
        C.mov(rax, __[rdi + 8 * LiveRows]);
        C.kmovw(k1, eax);
        Label panel = C.CreateLabel(), unit = C.CreateLabel(), stored = C.CreateLabel();
        C.Label(ref panel);
        C.mov(r8, rbp);
        C.lea(r9, __[r8 + r13 * 4]);
        C.lea(r10, __[r8 + r13 * 8]);
        C.lea(r11, __[r9 + r13 * 8]);
        if (!Far) C.lea(r12, __[r10 + r13 * 8]);
        C.add(rbp, __[rdi + 8 * PanelBytes]);
        C.mov(rsi, __[rdi + 8 * Tile]);
        C.mov(rcx, __[rdi + 8 * Units]);
        for (int t = 0; t < Tokens; t++) C.vpxord(Acc(t), Acc(t), Acc(t));
        C.Label(ref unit);
        Unit();
        C.dec(rcx);
        C.jne(unit);
        C.mov(rax, __[rdi + 8 * Output]);
        C.mov(rbx, __[rdi + 8 * OutputStride]);
        C.mov(rdx, __[rdi + 8 * LiveTokens]);
        for (int t = 0; t < Tokens; t++)
        {
            if (Far)
            {
                C.mov(rcx, __[rdi + 8 * Places]);
                C.vmovdqu32(Z[0], __zmmword_ptr[rcx]);
                C.kmovw(k2, k1);
                C.vscatterdps(__[rax + Z[0] * 4].k2, Acc(t));
            }
            else C.vmovups(__zmmword_ptr[rax].k1, Acc(t));
            if (t + 1 == Tokens) break;
            C.dec(rdx);
            C.je(stored);
            C.add(rax, rbx);
        }
        C.Label(ref stored);
        C.mov(rax, __[rdi + 8 * PanelOutput]);
        C.add(__[rdi + 8 * Output], rax);
        C.dec(r15);
        C.jne(panel);
    }

    /// <summary>Constants that stay in registers.</summary>
    protected abstract void Prepare();

    /// <summary>One step of the loop over the columns; leaves the rows' and the tile's pointers behind what it read.</summary>
    protected abstract void Unit();

    /// <summary>
    /// Asks for a part of what is read next. A panel of neighbours is one stretch of memory, read at 16 places that no prefetcher follows, and the first level of the cache is too
    /// small for two: the next one comes to the second level. Rows in far places come to the first level, as far ahead as pays.
    /// </summary>
    /// <param name="parts">How many such parts make a step; a divisor of 16.</param>
    protected void Ask(int parts)
    {
        if (!Far)
        {
            int bytes = Rows * UnitBytes / parts;
            for (int i = 0; i < bytes; i += Line) C.prefetcht1(__byte_ptr[r12 + i]);
            C.add(r12, bytes);
            return;
        }
        if (Ahead == 0) return;
        for (int n = 0; n < Rows / parts; n++, asked++)
            for (int i = 0; i < UnitBytes; i += Line) C.prefetcht0(__byte_ptr[W(asked % Rows, Ahead + i)]);
    }

    /// <summary>Moves on in all rows.</summary>
    protected void Advance(int bytes)
    {
        foreach (AssemblerRegister64 quarter in Quarters) C.add(quarter, bytes);
    }

    /// <summary>16 bytes of each row: bytes 4k … 4k + 3 of all rows in register k.</summary>
    protected void Transpose(int offset, ReadOnlySpan<AssemblerRegisterZMM> to)
    {
        for (int i = 0; i < 4; i++)
        {
            C.vmovdqu32(X[to[i].Value - Register.ZMM0], __xmmword_ptr[W(i, offset)]);
            for (int quarter = 1; quarter < 4; quarter++) C.vinserti32x4(to[i], to[i], __xmmword_ptr[W(4 * quarter + i, offset)], (byte)quarter);
        }
        C.vpunpckldq(Spare[0], to[0], to[1]);
        C.vpunpckhdq(Spare[1], to[0], to[1]);
        C.vpunpckldq(Spare[2], to[2], to[3]);
        C.vpunpckhdq(Spare[3], to[2], to[3]);
        C.vpunpcklqdq(to[0], Spare[0], Spare[2]);
        C.vpunpckhqdq(to[1], Spare[0], Spare[2]);
        C.vpunpcklqdq(to[2], Spare[1], Spare[3]);
        C.vpunpckhqdq(to[3], Spare[1], Spare[3]);
    }

    /// <summary>The half at an offset of each row, as float32. Through general registers, which have nothing else to do.</summary>
    protected void Halves(int offset, AssemblerRegisterZMM to)
    {
        for (int quarter = 0; quarter < 4; quarter++)
        {
            C.movzx(eax, __word_ptr[W(4 * quarter + 3, offset)]);
            for (int row = 2; row >= 0; row--)
            {
                C.shl(rax, 16);
                C.mov(ax, __word_ptr[W(4 * quarter + row, offset)]);
            }
            Gathered(quarter);
        }
        C.vinserti32x4(Y[16], Y[16], X[17], 1);
        C.vcvtph2ps(to, Y[16]);
    }

    /// <summary>Four numbers of rax to their place in the first two spare registers.</summary>
    private void Gathered(int quarter)
    {
        AssemblerRegisterXMM half = X[16 + quarter / 2];
        if (quarter % 2 == 0) C.vmovq(half, rax);
        else C.vpinsrq(half, half, rax, 1);
    }

    /// <summary>The byte at an offset of each row, as 32-bit whole numbers.</summary>
    protected void SingleBytes(int offset, AssemblerRegisterZMM to)
    {
        for (int half = 0; half < 2; half++)
        {
            C.movzx(eax, __byte_ptr[W(8 * half + 7, offset)]);
            for (int row = 6; row >= 0; row--)
            {
                C.shl(rax, 8);
                C.mov(al, __byte_ptr[W(8 * half + row, offset)]);
            }
            Gathered(half);
        }
        C.vpmovzxbd(to, X[16]);
    }

    /// <summary>The four bytes at an offset of each row.</summary>
    protected void Dwords(int offset, AssemblerRegisterZMM to)
    {
        for (int quarter = 0; quarter < 4; quarter++)
        {
            AssemblerRegisterXMM part = X[16 + quarter];
            C.vmovd(part, __dword_ptr[W(4 * quarter, offset)]);
            for (int i = 1; i < 4; i++) C.vpinsrd(part, part, __dword_ptr[W(4 * quarter + i, offset)], (byte)i);
        }
        C.vinserti32x4(Y[16], Y[16], X[17], 1);
        C.vinserti32x4(Y[18], Y[18], X[19], 1);
        C.vinserti64x4(to, Z[16], Y[18], 1);
    }

    /// <summary>The lower halves of 16 pairs of halves as float32, then the upper ones.</summary>
    protected void Pairs(AssemblerRegisterZMM pairs, AssemblerRegisterZMM lower, AssemblerRegisterZMM upper)
    {
        C.vpmovdw(Y[16], pairs);
        C.vcvtph2ps(lower, Y[16]);
        C.vpsrld(Z[16], pairs, 16);
        C.vpmovdw(Y[16], Z[16]);
        C.vcvtph2ps(upper, Y[16]);
    }

    /// <summary>The tile's part of a step, relative to the loop's.</summary>
    protected AssemblerMemoryOperand Step(int step) => rsi + TileStep * step;

    /// <summary>Where the first of the tokens' numbers is in a step: 0: −128·Σ q, 1: scale, 2: scale·Σ q, 3 and 4: −128·Σ q of the first and of the last 16.</summary>
    protected int Offset(int index) => 32 * Tokens + 4 * Tokens * index;

    private AssemblerMemoryOperand Factor(int index, int token) => rsi + Offset(index) + 4 * token;

    /// <summary>Begins the sums of a group: at what takes the offset 128 of the weights away, or at 0.</summary>
    /// <param name="start">Which of a token's numbers: 0 for 32 columns, 3 and 4 for the first and the last 16; −1: weights have no offset.</param>
    protected void Begin(int start)
    {
        for (int t = 0; t < Tokens; t++)
            for (int chain = 0; chain < Chains; chain++)
            {
                if (start >= 0 && chain == 0) C.vpbroadcastd(Sum(t, chain), __dword_ptr[Factor(start, t)]);
                else C.vpxord(Sum(t, chain), Sum(t, chain), Sum(t, chain));
            }
    }

    /// <summary>Four columns, unsigned, times all tokens.</summary>
    protected void Multiply(int four, AssemblerRegisterZMM w)
    {
        for (int t = 0; t < Tokens; t++) C.vpdpbusd(Sum(t, four % Chains), w, __dword_bcst[rsi + 4 * Tokens * four + 4 * t]);
    }

    /// <summary>Adds a group's sums, times its scales.</summary>
    protected void End(AssemblerRegisterZMM scale)
    {
        for (int t = 0; t < Tokens; t++)
        {
            if (Chains > 2)
            {
                C.vpaddd(Sum(t, 2), Sum(t, 2), Sum(t, 3));
                C.vpaddd(Sum(t, 1), Sum(t, 1), Sum(t, 2));
            }
            if (Chains > 1) C.vpaddd(Sum(t, 0), Sum(t, 0), Sum(t, 1));
            C.vcvtdq2ps(Sum(t, 0), Sum(t, 0));
            C.vmulps(Product, scale, __dword_bcst[Factor(1, t)]);
            C.vfmadd231ps(Acc(t), Sum(t, 0), Product);
        }
    }

    /// <summary>Adds the minima times the tokens' sums.</summary>
    protected void Minima(AssemblerRegisterZMM minima)
    {
        for (int t = 0; t < Tokens; t++) C.vfmadd231ps(Acc(t), minima, __dword_bcst[Factor(2, t)]);
    }
}

/// <summary>Formats with blocks of 32, a block a step.</summary>
/// <param name="tokens">Tokens of a tile.</param>
/// <param name="blockBytes">Bytes of a block.</param>
/// <param name="nibbles">Where the half-bytes begin in a block; −1 where there are whole signed bytes, at 2; 1: the scale is a bare exponent.</param>
/// <param name="fifth">Where the fifth bits are; −1 where there are none.</param>
/// <param name="minima">Whether a second half, at 2, is the minimum.</param>
/// <param name="levels">What half-bytes stand for: unsigned; plus 128 where there are no minima.</param>
internal sealed class StoredBlockAssembly(int tokens, int blockBytes, int nibbles, int fifth, bool minima, byte[] levels) : StoredDotAssembly(tokens)
{
    private static readonly AssemblerRegisterZMM[] Packed = [Z[0], Z[1], Z[2], Z[3], Z[4], Z[5], Z[6], Z[7]];

    private static readonly AssemblerRegisterZMM Minimum = Z[4], Bits = Z[5], SomeBits = Z[6], Flip = Z[11], Levels = Z[11], Sixteen = Z[12];

    private static readonly AssemblerRegisterZMM[] BitOfColumn = [Z[13], Z[14]];

    private readonly Label[] byteOfRow = new Label[4];

    private Label one, least, notANumber;

    private bool Exponent => nibbles == 1;

    protected override int UnitBytes => blockBytes;

    protected override int Ahead => nibbles < 0 ? 320 : 0;

    protected override void Prepare()
    {
        if (nibbles < 0)
        {
            Load(Flip, Constant(_ => unchecked((int)0x80808080)));
            return;
        }
        // VPERMB looks at six bits of its index: the table four times, so that only the lower four count.
        Load(Levels, Constant([.. levels, .. levels, .. levels, .. levels]));
        if (Exponent)
        {
            one = Constant(_ => BitConverter.SingleToInt32Bits(1));
            least = Constant(_ => 128);
            notANumber = Constant(_ => BitConverter.SingleToInt32Bits(float.NaN));
            Load(Sixteen, Constant(_ => 255));
        }
        if (fifth < 0) return;
        Load(Sixteen, Constant(_ => 0x10101010));
        Load(BitOfColumn[0], Constant(_ => 0x08040201));
        Load(BitOfColumn[1], Constant(_ => unchecked((int)0x80402010)));
        for (int i = 0; i < 4; i++)
        {
            int b = i;
            byteOfRow[i] = Constant(lane => 0x01010101 * (4 * (lane % 4) + b));
        }
    }

    protected override void Unit()
    {
        Ask(1);
        if (Exponent)
        {
            // 2^(e − 128), below the normal numbers too; 255 is no number.
            SingleBytes(0, Scale);
            C.vpcmpeqd(k2, Scale, Sixteen);
            C.vpsubd(Scale, Scale, __zmmword_ptr[least]);
            C.vcvtdq2ps(Scale, Scale);
            C.vmovups(Product, __zmmword_ptr[one]);
            C.vscalefps(Scale, Product, Scale);
            C.vmovups(Scale.k2, __zmmword_ptr[notANumber]);
        }
        else if (minima)
        {
            Dwords(0, Bytes);
            Pairs(Bytes, Scale, Minimum);
        }
        else
        {
            Halves(0, Scale);
        }
        if (nibbles < 0)
        {
            Transpose(2, Packed.AsSpan(0, 4));
            Transpose(18, Packed.AsSpan(4, 4));
            Begin(0);
            for (int k = 0; k < 8; k++)
            {
                C.vpxord(Bytes, Packed[k], Flip);
                Multiply(k, Bytes);
            }
        }
        else
        {
            if (fifth >= 0) Dwords(fifth, Bits);
            Transpose(nibbles, Packed.AsSpan(0, 4));
            Begin(minima ? -1 : 0);
            for (int k = 0; k < 8; k++)
            {
                if (k >= 4) C.vpsrlw(Packed[k - 4], Packed[k - 4], 4);
                C.vpermb(Bytes, Packed[k % 4], Levels);
                if (fifth >= 0)
                {
                    if (k % 2 == 0) C.vpshufb(SomeBits, Bits, __zmmword_ptr[byteOfRow[k / 2]]);
                    C.vptestmb(k2, SomeBits, BitOfColumn[k % 2]);
                    C.vpaddb(Bytes.k2, Bytes, Sixteen);
                }
                Multiply(k, Bytes);
            }
        }
        End(Scale);
        if (minima) Minima(Minimum);
        Advance(blockBytes);
        C.add(rsi, TileStep);
    }
}

/// <summary>Q4_K and Q5_K: a step is a block of 256. Working memory: for each 32 columns 16 scales and 16 minima; then, for Q5_K, the fifth bits, transposed.</summary>
internal sealed class StoredKAssembly(int tokens, bool fifth) : StoredDotAssembly(tokens)
{
    private const int FifthBits = 8 * 128;

    private static readonly AssemblerRegisterZMM[] Packed = [Z[0], Z[1], Z[2], Z[3], Z[4], Z[5], Z[6], Z[7]];

    private static readonly AssemblerRegisterZMM Mask15 = Z[11], Sixteen = Z[12], Bit = Z[13], Minimum = Z[14];

    private Label six, four, upper, sign, firstBit;

    protected override int UnitBytes => fifth ? 176 : 144;

    protected override void Prepare()
    {
        Load(Mask15, Constant(_ => 0x0F0F0F0F));
        six = Constant(_ => 63);
        four = Constant(_ => 15);
        upper = Constant(_ => 48);
        sign = Constant(_ => int.MinValue);
        if (!fifth) return;
        Load(Sixteen, Constant(_ => 0x10101010));
        firstBit = Constant(_ => 0x01010101);
    }

    protected override void Unit()
    {
        C.mov(rdx, __[rdi + 8 * Working]);
        // Halves d and dmin, then 12 bytes: six bits of groups 0-3 (first), of their minima (second), lower four and upper two of groups 4-7.
        Transpose(0, Packed.AsSpan(0, 4));
        AssemblerRegisterZMM first = Packed[1], second = Packed[2], third = Packed[3], d = Scale, m = Minimum, low = Packed[4], high = Packed[5];
        Pairs(Packed[0], d, m);
        C.vpxord(m, m, __zmmword_ptr[sign]);
        for (int g = 0; g < 4; g++)
        {
            C.vpandd(low, first, __zmmword_ptr[six]);
            StoreScale(low, d, 128 * g);
            C.vpandd(low, second, __zmmword_ptr[six]);
            StoreScale(low, m, 128 * g + 64);
            C.vpsrld(high, first, 2);
            C.vpandd(high, high, __zmmword_ptr[upper]);
            C.vpandd(low, third, __zmmword_ptr[four]);
            C.vpord(low, low, high);
            StoreScale(low, d, 128 * (g + 4));
            C.vpsrld(high, second, 2);
            C.vpandd(high, high, __zmmword_ptr[upper]);
            C.vpsrld(low, third, 4);
            C.vpandd(low, low, __zmmword_ptr[four]);
            C.vpord(low, low, high);
            StoreScale(low, m, 128 * (g + 4) + 64);
            if (g == 3) break;
            C.vpsrld(first, first, 8);
            C.vpsrld(second, second, 8);
            C.vpsrld(third, third, 8);
        }
        if (fifth)
        {
            for (int i = 0; i < 2; i++)
            {
                Transpose(16 + 16 * i, Packed.AsSpan(0, 4));
                for (int k = 0; k < 4; k++) C.vmovdqu64(__zmmword_ptr[rdx + FifthBits + 64 * (4 * i + k)], Packed[k]);
            }
            C.vmovdqu64(Bit, __zmmword_ptr[firstBit]);
            C.mov(rax, rdx);
        }
        Advance(fifth ? 48 : 16);
        C.mov(ebx, 4);
        Label loop = C.CreateLabel();
        C.Label(ref loop);
        Transpose(0, Packed.AsSpan(0, 4));
        Transpose(16, Packed.AsSpan(4, 4));
        for (int part = 0; part < 2; part++)
        {
            Ask(8);
            Begin(-1);
            for (int k = 0; k < 8; k++)
            {
                if (part == 1) C.vpsrlw(Packed[k], Packed[k], 4);
                C.vpandd(Bytes, Packed[k], Mask15);
                if (fifth)
                {
                    C.vptestmb(k2, Bit, __zmmword_ptr[rax + FifthBits + 64 * k]);
                    C.vpaddb(Bytes.k2, Bytes, Sixteen);
                }
                Multiply(k, Bytes);
            }
            C.vmovups(Scale, __zmmword_ptr[rdx + 128 * part]);
            End(Scale);
            C.vmovups(Minimum, __zmmword_ptr[rdx + 128 * part + 64]);
            Minima(Minimum);
            C.add(rsi, TileStep);
            if (fifth) C.vpsllw(Bit, Bit, 1);
        }
        Advance(32);
        C.add(rdx, 256);
        C.dec(ebx);
        C.jne(loop);
    }

    private void StoreScale(AssemblerRegisterZMM whole, AssemblerRegisterZMM factor, int offset)
    {
        C.vcvtdq2ps(whole, whole);
        C.vmulps(whole, factor, whole);
        C.vmovups(__zmmword_ptr[rdx + offset], whole);
    }
}

/// <summary>Q6_K: a step is a block of 256, a scale for each 16 columns. Working memory: 16 × 16 scales, then the block's numbers, transposed.</summary>
internal sealed class StoredQ6KAssembly(int tokens) : StoredDotAssembly(tokens)
{
    private const int NumbersAt = 16 * 64, StepBytes = 512, Block = 210;

    private static readonly AssemblerRegisterZMM[] A = [Z[0], Z[1], Z[2], Z[3]], B = [Z[4], Z[5], Z[6], Z[7]], High = [Z[12], Z[13], Z[14], Z[15]];

    private static readonly AssemblerRegisterZMM Mask15 = Z[11];

    /// <summary>Sums of one token: two for each of four steps.</summary>
    private static readonly AssemblerRegisterZMM[] Direct = [Z[20], Z[21], Z[22], Z[23], Z[25], Z[26], Z[27], Z[28]];

    private Label levels, mask;

    protected override int UnitBytes => Block;

    protected override int Ahead => 640;

    protected override void Prepare()
    {
        mask = Constant(_ => 0x0F0F0F0F);
        levels = Constant([.. Enumerable.Range(0, 64).Select(i => (byte)(i - 32 + 128))]);
    }

    protected override void Unit()
    {
        C.mov(rdx, __[rdi + 8 * Working]);
        Transpose(192, A);
        Halves(208, Scale);
        for (int k = 0; k < 4; k++)
            for (int i = 0; i < 4; i++)
            {
                AssemblerRegisterZMM whole = Bytes;
                if (i < 3) C.vpslld(whole, A[k], (byte)(24 - 8 * i));
                C.vpsrad(whole, i < 3 ? whole : A[k], 24);
                C.vcvtdq2ps(whole, whole);
                C.vmulps(whole, Scale, whole);
                C.vmovups(__zmmword_ptr[rdx + 64 * (4 * k + i)], whole);
            }
        Load(Mask15, mask);
        AssemblerRegisterZMM table = Scale;
        Load(table, levels);
        for (int h = 0; h < 2; h++)
        {
            if (Tokens == 1)
                for (int s = 0; s < 8; s++) C.vpbroadcastd(Direct[s], __dword_ptr[Step(4 * h + s / 2) + Offset(3 + s % 2)]);
            for (int i = 0; i < 2; i++)
            {
                Transpose(64 * h + 16 * i, A);
                Transpose(64 * h + 32 + 16 * i, B);
                Transpose(128 + 32 * h + 16 * i, High);
                for (int k = 0; k < 4; k++)
                {
                    Ask(16);
                    int step = 4 * h, four = 4 * i + k;
                    C.vpsllw(Bytes, High[k], 4);
                    Numbers(A[k], table, step, four);
                    C.vpsllw(Bytes, High[k], 2);
                    Numbers(B[k], table, step + 1, four);
                    C.vpsrlw(A[k], A[k], 4);
                    C.vmovdqa64(Bytes, High[k]);
                    Numbers(A[k], table, step + 2, four);
                    C.vpsrlw(B[k], B[k], 4);
                    C.vpsrlw(Bytes, High[k], 2);
                    Numbers(B[k], table, step + 3, four);
                }
            }
            if (Tokens > 1) continue;
            for (int s = 0; s < 8; s++)
            {
                C.vcvtdq2ps(Direct[s], Direct[s]);
                C.vbroadcastss(Product, __dword_ptr[Step(4 * h + s / 2) + Offset(1)]);
                C.vmulps(Product, Product, __zmmword_ptr[rdx + 64 * (8 * h + s)]);
                C.vfmadd231ps(Z[24], Direct[s], Product);
            }
        }
        Advance(Block);
        if (Tokens == 1)
        {
            C.add(rsi, 8 * TileStep);
            return;
        }
        C.mov(ebx, 8);
        C.mov(rax, rdx);
        Label loop = C.CreateLabel();
        C.Label(ref loop);
        for (int g = 0; g < 2; g++)
        {
            Begin(3 + g);
            for (int k = 4 * g; k < 4 * g + 4; k++)
            {
                C.vmovdqu64(Bytes, __zmmword_ptr[rax + NumbersAt + 64 * k]);
                Multiply(k, Bytes);
            }
            C.vmovups(Scale, __zmmword_ptr[rdx + 64 * g]);
            End(Scale);
        }
        C.add(rsi, TileStep);
        C.add(rdx, 128);
        C.add(rax, StepBytes);
        C.dec(ebx);
        C.jne(loop);
    }

    /// <summary>
    /// Lower four bits, and two above them that stand in the upper half of Bytes; VPERMB looks at these six only. One token's products are added at once, and only the sums of
    /// the groups wait for their turn; with more there are too many sums for the registers, and the numbers wait.
    /// </summary>
    private void Numbers(AssemblerRegisterZMM lower, AssemblerRegisterZMM table, int step, int four)
    {
        C.vpternlogd(Bytes, lower, Mask15, 0xD8); // where the mask is: lower, elsewhere what is there
        C.vpermb(Bytes, Bytes, table);
        if (Tokens == 1) C.vpdpbusd(Direct[2 * (step % 4) + four / 4], Bytes, __dword_bcst[Step(step) + 4 * four]);
        else C.vmovdqu64(__zmmword_ptr[rdx + NumbersAt + StepBytes * step + 64 * four], Bytes);
    }
}
