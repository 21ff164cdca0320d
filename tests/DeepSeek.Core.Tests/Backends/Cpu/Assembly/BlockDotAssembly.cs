using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace DeepSeek.Core.Tests.Backends.Cpu.Assembly;

/// <summary>
/// Formats with blocks of 32: a step takes two blocks, the first in the lower 8 lanes, the second in the upper. Bytes are unsigned (q plus an offset, a power of two); the
/// sum starts at minus the offset times the sum of the activations.
/// </summary>
/// <param name="tokens">Tokens of a call: 1, 2 or 4.</param>
/// <param name="blockBytes">Bytes of a block.</param>
/// <param name="nibbles">Where the half-bytes begin in a block; −1 where there are whole signed bytes, at 2.</param>
/// <param name="fifth">Where the fifth bits are; −1 where there are none.</param>
/// <param name="minima">Whether a second half, at 2, is the minimum.</param>
/// <param name="offsetBits">Binary logarithm of the offset; −1: none.</param>
/// <param name="levels">Table of unsigned levels that half-bytes point to; null: they are the numbers.</param>
internal sealed class BlockDotAssembly(int tokens, int blockBytes, int nibbles, int fifth, bool minima, int offsetBits, byte[]? levels) : DotAssembly(tokens)
{
    private static readonly AssemblerRegisterZMM Mask15 = Z[0], Shifts = Z[1], Levels = Z[2], Sixteen = Z[3];

    protected override int StepColumns => 64;

    protected override int StepBytes => 2 * blockBytes;

    protected override bool HasMinima => minima;

    /// <summary>MXFP4: the scale is a bare exponent.</summary>
    private bool Exponent => nibbles == 1;

    protected override void Prepare()
    {
        Mask(k1, 0xFF00); // the second block's lanes of 4 bytes
        Mask(k4, 0xF0); // the second block's lanes of 2 bytes, in pairs
        if (minima)
        {
            Mask(k2, 1 << 1); // where its minimum stands among the halves of the first, and of the second block
            Mask(k3, 1 << 9);
        }
        if (nibbles < 0)
        {
            Load(Mask15, Constant(_ => unchecked((int)0x80808080)));
            return;
        }
        Load(Mask15, Constant(_ => 0x0F0F0F0F));
        Load(Shifts, Constant(i => (i & 5) == 4 ? 4 : 0));
        if (levels is not null) Load(Levels, Constant([.. levels, .. levels, .. levels, .. levels]));
        if (fifth >= 0) Load(Sixteen, Constant(_ => 0x10101010));
        if (Exponent) Load(Sixteen, Constant(_ => BitConverter.SingleToInt32Bits(0.5f)));
    }

    protected override void Step()
    {
        AssemblerRegisterZMM w = Z[4], scale = Z[5], sum = Z[6], product = Z[7], sx = Z[8], start = Z[9], sums = Z[10];
        bool shared = Tokens == 1;
        if (shared) Activations(0, sx, start, sums);
        for (int r = 0; r < RowsAtOnce; r++)
        {
            Bytes(r, w);
            if (Exponent)
            {
                C.vpbroadcastd(scale, __dword_ptr[W(r, 0)]);
                C.vpbroadcastd(scale.k1, __dword_ptr[W(r, blockBytes)]);
                C.vpslld(scale, scale, 24);
                C.vpsrld(scale, scale, 1); // e into the exponent's field: 2^(e − 127)
            }
            else
            {
                C.vpbroadcastd(Y[5], __dword_ptr[W(r, 0)]);
                C.vpbroadcastd(Y[5].k4, __dword_ptr[W(r, blockBytes)]);
                C.vcvtph2ps(scale, Y[5]); // d, m, d, m, … (where there are no minima, the odd ones are whatever)
            }
            AssemblerRegisterZMM d = scale;
            if (!Exponent) C.vmovsldup(d = Z[11], scale);
            for (int t = 0; t < Tokens; t++)
            {
                if (!shared) Activations(t, sx, start, sums);
                if (offsetBits < 0) C.vpxord(sum, sum, sum);
                else C.vmovdqa64(sum, start);
                C.vpdpbusd(sum, w, __zmmword_ptr[A(ArrayQ, t, 0)]);
                C.vcvtdq2ps(sum, sum);
                C.vmulps(product, d, sx);
                C.vfmadd231ps(Acc(r, t), sum, product);
                if (minima) C.vfmadd231ps(AccMin(r, t), scale, sums);
            }
        }
    }

    /// <summary>A token's scales, starting sums, and sums for the minima.</summary>
    private void Activations(int t, AssemblerRegisterZMM sx, AssemblerRegisterZMM start, AssemblerRegisterZMM sums)
    {
        C.vbroadcastss(sx, __dword_ptr[A(ArrayScales, t, 0)]);
        C.vbroadcastss(sx.k1, __dword_ptr[A(ArrayScales, t, 4)]);
        if (Exponent) C.vmulps(sx, sx, Sixteen);
        if (offsetBits >= 0) C.vpslld(start, __zmmword_ptr[A(ArrayLanes, t, 0)], (byte)offsetBits);
        if (!minima) return;
        C.vbroadcastss(sums.k2.z, __dword_ptr[A(ArraySums, t, 0)]);
        C.vbroadcastss(sums.k3, __dword_ptr[A(ArraySums, t, 4)]);
    }

    /// <summary>64 unsigned bytes of a row.</summary>
    private void Bytes(int r, AssemblerRegisterZMM w)
    {
        if (nibbles < 0)
        {
            C.vmovdqu8(Y[4], __ymmword_ptr[W(r, 2)]);
            C.vinserti64x4(w, w, __ymmword_ptr[W(r, blockBytes + 2)], 1);
            C.vpxord(w, w, Mask15);
            return;
        }
        C.vbroadcasti32x4(Y[4], __xmmword_ptr[W(r, nibbles)]);
        C.vbroadcasti32x4(w.k1, __xmmword_ptr[W(r, blockBytes + nibbles)]);
        C.vpsrlvq(w, w, Shifts);
        C.vpandd(w, w, Mask15);
        if (levels is not null) C.vpshufb(w, Levels, w);
        if (fifth < 0) return;
        C.kmovd(k5, __dword_ptr[W(r, fifth)]);
        C.kmovd(k6, __dword_ptr[W(r, blockBytes + fifth)]);
        C.kunpckdq(k5, k6, k5);
        C.vpaddb(w.k5, w, Sixteen);
    }
}
