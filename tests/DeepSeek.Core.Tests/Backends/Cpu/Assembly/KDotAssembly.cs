using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace DeepSeek.Core.Tests.Backends.Cpu.Assembly;

/// <summary>Q4_K and Q5_K: a step is a block of 256. Eight scales and eight minima are unpacked together, times d and dmin, times the activations' scales and sums.</summary>
internal sealed class KDotAssembly(int tokens, bool fifth) : DotAssembly(tokens)
{
    private static readonly AssemblerRegisterZMM Mask15 = Z[0], Shifts = Z[1], Sixteen = Z[2];

    /// <summary>Lane patterns that spread scale 2c over the lower and 2c + 1 over the upper half.</summary>
    private static readonly AssemblerRegisterZMM[] Spread = [Z[14], Z[15], Z[16], Z[17]];

    private readonly Label[] groupBits = new Label[4];

    private Label lowerFields, lowerMask, upperFields, upperMask;

    protected override int StepColumns => 256;

    protected override int StepBytes => fifth ? 176 : 144;

    protected override bool HasMinima => true;

    protected override void Prepare()
    {
        Mask(k1, 0xFF00);
        Load(Mask15, Constant(_ => 0x0F0F0F0F));
        Load(Shifts, Constant(i => i >= 8 && (i & 1) == 0 ? 4 : 0));
        for (int c = 0; c < 4; c++)
        {
            int first = 2 * c;
            Load(Spread[c], Constant(i => first + i / 8));
        }
        // Bit fields of [bytes 0-3 | 8-11] and [bytes 4-7 | 8-11] of the 12 bytes: six bits of groups 0-3, then the lower four of groups 4-7; then their upper two.
        lowerFields = Constant([0, 8, 16, 24, 32, 40, 48, 56, 0, 8, 16, 24, 36, 44, 52, 60]);
        lowerMask = Constant([63, 63, 63, 63, 15, 15, 15, 15, 63, 63, 63, 63, 15, 15, 15, 15]);
        upperFields = Constant([0, 0, 0, 0, 2, 10, 18, 26, 0, 0, 0, 0, 2, 10, 18, 26]);
        upperMask = Constant([0, 0, 0, 0, 48, 48, 48, 48, 0, 0, 0, 0, 48, 48, 48, 48]);
        if (!fifth) return;
        Load(Sixteen, Constant(_ => 0x10101010));
        for (int c = 0; c < 4; c++)
        {
            int first = 2 * c;
            groupBits[c] = Constant([.. Enumerable.Range(0, 64).Select(i => (byte)(1 << first + i / 32))]);
        }
    }

    protected override void Step()
    {
        AssemblerRegisterZMM w = Z[4], sum = Z[5], each = Z[6], both = Z[7], factors = Z[8], d = Z[9], high = Z[3];
        AssemblerRegisterZMM[] scales = [Z[10], Z[11], Z[18], Z[19]];
        AssemblerRegisterZMM activations = Z[13];
        if (Tokens == 1) Activations(0, activations);
        for (int r = 0; r < RowsAtOnce; r++)
        {
            C.vpshufd(X[5], __xmmword_ptr[W(r, 0)], 0xED);
            C.vmovdqu64(X[6], __xmmword_ptr[lowerFields]);
            C.vpmultishiftqb(X[6], X[6], X[5]);
            C.vpandd(X[6], X[6], __xmmword_ptr[lowerMask]);
            C.vmovdqu64(X[7], __xmmword_ptr[upperFields]);
            C.vpmultishiftqb(X[7], X[7], X[5]);
            C.vpternlogd(X[7], X[6], __xmmword_ptr[upperMask], 0xEC); // (fields and mask) or the lower bits
            C.vpmovzxbd(factors, X[7]);
            C.vcvtdq2ps(factors, factors);
            C.vpbroadcastd(Y[7], __dword_ptr[W(r, 0)]);
            C.vcvtph2ps(both, Y[7]);
            C.vmovsldup(d, both);
            C.vmovshdup(d.k1, both);
            C.vmulps(factors, factors, d);
            for (int t = 0; t < Tokens; t++)
            {
                if (Tokens > 1) Activations(t, activations);
                C.vmulps(scales[t], factors, activations);
                C.vsubps(AccMin(r, t).k1, AccMin(r, t), scales[t]);
            }
            if (fifth) C.vbroadcasti64x4(high, __ymmword_ptr[W(r, 16)]);
            for (int c = 0; c < 4; c++)
            {
                C.vbroadcasti64x4(w, __ymmword_ptr[W(r, (fifth ? 48 : 16) + 32 * c)]);
                C.vpsrlvq(w, w, Shifts);
                C.vpandd(w, w, Mask15);
                if (fifth)
                {
                    C.vptestmb(k5, high, __zmmword_ptr[groupBits[c]]);
                    C.vpaddb(w.k5, w, Sixteen);
                }
                for (int t = 0; t < Tokens; t++)
                {
                    C.vpxord(sum, sum, sum);
                    C.vpdpbusd(sum, w, __zmmword_ptr[A(ArrayQ, t, 64 * c)]);
                    C.vcvtdq2ps(sum, sum);
                    C.vpermps(each, Spread[c], scales[t]);
                    C.vfmadd231ps(Acc(r, t), sum, each);
                }
            }
        }
    }

    /// <summary>A token's eight scales, then its eight sums.</summary>
    private void Activations(int t, AssemblerRegisterZMM to)
    {
        C.vmovups(Y[13], __ymmword_ptr[A(ArrayScales, t, 0)]);
        C.vinsertf64x4(to, to, __ymmword_ptr[A(ArraySums, t, 0)], 1);
    }
}

/// <summary>Q6_K: a step is a block of 256; a scale for each 16 columns, that is four lanes.</summary>
internal sealed class Q6KDotAssembly(int tokens) : DotAssembly(tokens)
{
    private static readonly AssemblerRegisterZMM Mask15 = Z[0], Mask48 = Z[1], Left = Z[2], Right = Z[3], Pairs = Z[22];

    private static readonly AssemblerRegisterZMM[] Spread = [Z[14], Z[15], Z[16], Z[17]];

    protected override int StepColumns => 256;

    protected override int StepBytes => 210;

    protected override bool HasMinima => false;

    protected override void Prepare()
    {
        Load(Mask15, Constant(_ => 0x0F0F0F0F));
        Load(Mask48, Constant(_ => 0x30303030));
        Load(Left, Constant(i => (i & 1) != 0 ? 0 : i < 8 ? 4 : 2));
        Load(Right, Constant(i => (i & 1) == 0 && i >= 8 ? 2 : 0));
        Load(Pairs, Constant(i => i / 2));
        for (int c = 0; c < 4; c++)
        {
            int first = 4 * c;
            Load(Spread[c], Constant(i => first + i / 4));
        }
    }

    protected override void Step()
    {
        AssemblerRegisterZMM low = Z[4], sum = Z[5], each = Z[6], high = Z[7], factors = Z[8], d = Z[9];
        AssemblerRegisterZMM[] w = [Z[20], Z[21]], scales = [Z[10], Z[11], Z[18], Z[19]];
        AssemblerRegisterZMM activations = Z[13];
        if (Tokens == 1) Activations(0, activations);
        for (int r = 0; r < RowsAtOnce; r++)
        {
            C.vpmovsxbd(factors, __xmmword_ptr[W(r, 192)]);
            C.vcvtdq2ps(factors, factors);
            C.vpbroadcastd(Y[9], __dword_ptr[W(r, 206)]); // its upper half is d; no byte behind the block is read
            C.vcvtph2ps(d, Y[9]);
            C.vmovshdup(d, d);
            C.vmulps(factors, factors, d);
            for (int t = 0; t < Tokens; t++)
            {
                if (Tokens > 1) Activations(t, activations);
                C.vmulps(scales[t], factors, activations);
            }
            for (int h = 0; h < 2; h++)
            {
                C.vmovdqu64(low, __zmmword_ptr[W(r, 64 * h)]);
                C.vbroadcasti64x4(high, __ymmword_ptr[W(r, 128 + 32 * h)]);
                C.vpsllvq(w[0], high, Left);
                C.vpandd(w[0], w[0], Mask48);
                C.vpternlogd(w[0], low, Mask15, 0xF8); // w or (low and mask)
                C.vpsrlvq(w[1], high, Right);
                C.vpandd(w[1], w[1], Mask48);
                C.vpsrlw(low, low, 4);
                C.vpternlogd(w[1], low, Mask15, 0xF8);
                for (int i = 0; i < 2; i++)
                {
                    int c = 2 * h + i;
                    for (int t = 0; t < Tokens; t++)
                    {
                        C.vpslld(sum, __zmmword_ptr[A(ArrayLanes, t, 64 * c)], 5);
                        C.vpdpbusd(sum, w[i], __zmmword_ptr[A(ArrayQ, t, 64 * c)]);
                        C.vcvtdq2ps(sum, sum);
                        C.vpermps(each, Spread[c], scales[t]);
                        C.vfmadd231ps(Acc(r, t), sum, each);
                    }
                }
            }
        }
    }

    /// <summary>A token's eight scales, each twice.</summary>
    private void Activations(int t, AssemblerRegisterZMM to)
    {
        C.vmovups(Y[13], __ymmword_ptr[A(ArrayScales, t, 0)]);
        C.vpermps(to, Pairs, to);
    }
}
