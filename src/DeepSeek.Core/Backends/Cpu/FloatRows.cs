using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu;

/// <summary>Rows of weights as float32.</summary>
internal static unsafe class FloatRows
{
    /// <summary>16 unsigned numbers as 32 bits each. (The portable form takes three instructions more.)</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> ZeroExtend(Vector256<ushort> v)
    {
        if (Avx512F.IsSupported) return Avx512F.ConvertToVector512UInt32(v);
        (Vector256<uint> low, Vector256<uint> high) = Vector256.Widen(v);
        return Vector512.Create(low, high);
    }

    /// <summary>16 unsigned numbers as 32 bits each.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> ZeroExtend(Vector128<byte> v)
    {
        if (Avx512F.IsSupported) return Avx512F.ConvertToVector512UInt32(v);
        (Vector128<ushort> low, Vector128<ushort> high) = Vector128.Widen(v);
        return ZeroExtend(Vector256.Create(low, high));
    }

    /// <summary>
    /// Magnitudes of a small format, moved to float32's fields, with the exponent's bias corrected. Subnormal numbers go through 2^k·(1 + m) − 2^k: multiplying
    /// float32 subnormals traps into microcode on some processors. Above <paramref name="special"/> (its all-ones exponent, or e4m3's one NaN) the result is infinite or NaN.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Widen(Vector512<uint> magnitude, Vector512<uint> sign, uint bias, uint special)
    {
        // Halves by themselves where vectors are 256 bits: the wider forms of comparing and selecting are slow there.
        if (!Vector512.IsHardwareAccelerated)
            return Vector512.Create(Widen(magnitude.GetLower(), sign.GetLower(), bias, special), Widen(magnitude.GetUpper(), sign.GetUpper(), bias, special));
        Vector512<uint> normal = magnitude + Vector512.Create(bias << 23), one = Vector512.Create(bias + 1 << 23);
        Vector512<uint> subnormal = ((magnitude + one).AsSingle() - one.AsSingle()).AsUInt32();
        Vector512<uint> value = Vector512.ConditionalSelect(Vector512.LessThan(magnitude, Vector512.Create(1u << 23)), subnormal, normal);
        value |= Vector512.GreaterThanOrEqual(magnitude, Vector512.Create(special)) & Vector512.Create(special == 0x0F80_0000 ? 0x7F80_0000u : 0x7FC0_0000u);
        return (value | sign).AsSingle();
    }

    /// <inheritdoc cref="Widen(Vector512{uint}, Vector512{uint}, uint, uint)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Widen(Vector256<uint> magnitude, Vector256<uint> sign, uint bias, uint special)
    {
        // Magnitudes are below 2^31: comparing signed numbers is one instruction.
        Vector256<uint> normal = magnitude + Vector256.Create(bias << 23), one = Vector256.Create(bias + 1 << 23);
        Vector256<uint> subnormal = ((magnitude + one).AsSingle() - one.AsSingle()).AsUInt32();
        Vector256<uint> value = Vector256.ConditionalSelect(Vector256.GreaterThan(Vector256.Create(1 << 23), magnitude.AsInt32()).AsUInt32(), subnormal, normal);
        value |= Vector256.GreaterThan(magnitude.AsInt32(), Vector256.Create((int)special - 1)).AsUInt32() & Vector256.Create(special == 0x0F80_0000 ? 0x7F80_0000u : 0x7FC0_0000u);
        return (value | sign).AsSingle();
    }

    /// <summary>Row <paramref name="row"/> as float32, scales applied. [Columns]</summary>
    public static void Read(Weight w, int row, float* to) => Read(w, row, to, Capabilities.None);

    /// <summary>Row <paramref name="row"/> as float32, scales applied. [Columns]</summary>
    public static void Read(Weight w, int row, float* to, Capabilities capabilities)
    {
        switch (w.Type)
        {
            case DType.F32: Read<LoadF32>(w, row, to); break;
            case DType.F16: Read<LoadF16>(w, row, to); break;
            case DType.BF16: Read<LoadBF16>(w, row, to); break;
            case DType.F8E5M2: Read<LoadE5M2>(w, row, to); break;
            case DType.F8E4M3 when capabilities.Avx512Vbmi: Look(w, row, to, null); return;
            case DType.F8E4M3: Read<LoadE4M3>(w, row, to); break;
            default: Dequantise.Row(w, row, new Span<float>(to, w.Columns)); return;
        }
        if (w.Scales is not { } s) return;
        for (int c = 0; c < w.Columns; c += s.BlockColumns)
        {
            float scale = Scale(s, row, c);
            int i = c, end = Math.Min(c + s.BlockColumns, w.Columns);
            for (; i + 16 <= end; i += 16) (Vector512.Load(to + i) * scale).Store(to + i);
            for (; i < end; i++) to[i] *= scale;
        }
    }

    /// <summary>A row of e4m3 as bfloat16, to nearest, ties to even, scales applied. [Columns]</summary>
    public static void ReadBrains(Weight w, int row, ushort* to) => Look(w, row, null, to);

    /// <summary>A row of e4m3, by tables, as float32 or as bfloat16.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Look(Weight w, int row, float* floats, ushort* brains)
    {
        byte* from = (byte*)w.Row(row);
        E4M3Tables tables = new(E4M3Tables.Address);
        int blockColumns = w.Scales?.BlockColumns ?? w.Columns;
        for (int k = 0; k < w.Columns;)
        {
            float scale = w.Scales is null ? 1 : Scale(w.Scales, row, k);
            int end = Math.Min(k + blockColumns, w.Columns);
            for (; floats != null && k + 64 <= end; k += 64)
            {
                FloatStep step = tables.Spread(from + k);
                (step.Part<LookE4M3>(0) * scale).Store(floats + k);
                (step.Part<LookE4M3>(1) * scale).Store(floats + k + 16);
                (step.Part<LookE4M3>(2) * scale).Store(floats + k + 32);
                (step.Part<LookE4M3>(3) * scale).Store(floats + k + 48);
            }
            for (; floats == null && k + 64 <= end; k += 64)
            {
                FloatStep step = tables.Pairs(from + k);
                Pairs(step.Part<LookE4M3>(0) * scale, step.Part<LookE4M3>(1) * scale).Store((uint*)(brains + k));
                Pairs(step.Part<LookE4M3>(2) * scale, step.Part<LookE4M3>(3) * scale).Store((uint*)(brains + k + 32));
            }
            for (; k < end; k++)
            {
                float value = SmallFloats.FromE4M3(from[k]) * scale;
                if (floats != null) floats[k] = value;
                else brains[k] = SmallFloats.ToBF16(value);
            }
        }
    }

    /// <summary>Rounded to bfloat16, neighbours joined. NaN is the one that products make here, which survives.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Pairs(Vector512<float> even, Vector512<float> odd)
    {
        Vector512<uint> low = even.AsUInt32(), high = odd.AsUInt32(), half = Vector512.Create(0x7FFFu), one = Vector512<uint>.One;
        low += (low >>> 16 & one) + half;
        high += (high >>> 16 & one) + half;
        return low >>> 16 | high & Vector512.Create(0xFFFF_0000u);
    }

    /// <summary>The scale of an element.</summary>
    public static float Scale(BlockScales s, int row, int column)
        => Dequantise.Scale(s.Type, (byte*)s.Data + (long)((row + s.RowOffset) / s.BlockRows) * s.Stride * s.Type.Info().BlockBytes, column / s.BlockColumns);

    private static void Read<TLoad>(Weight w, int row, float* to) where TLoad : struct, IFloatLoader
    {
        byte* from = (byte*)w.Row(row);
        int i = 0;
        for (; i + 16 <= w.Columns; i += 16) TLoad.Load(from + i * TLoad.Bytes).Store(to + i);
        if (i == w.Columns) return;
        Vector512<float> rest = LoadRest<TLoad>(from + i * TLoad.Bytes, w.Columns - i);
        new ReadOnlySpan<float>(&rest, w.Columns - i).CopyTo(new Span<float>(to + i, w.Columns - i));
    }

    /// <summary>Fewer than 16 numbers, zeros behind them.</summary>
    public static Vector512<float> LoadRest<TLoad>(byte* at, int count) where TLoad : struct, IFloatLoader
    {
        byte* padded = stackalloc byte[64];
        new Span<byte>(padded, 64).Clear();
        new ReadOnlySpan<byte>(at, count * TLoad.Bytes).CopyTo(new Span<byte>(padded, 64));
        return TLoad.Load(padded);
    }
}
