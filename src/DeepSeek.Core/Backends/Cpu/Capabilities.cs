using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;
using DeepSeek.Backends.Cpu.Assembly;

namespace DeepSeek.Backends.Cpu;

/// <summary>
/// What this processor may be asked to do: the one place that decides between kernels. Obeys the runtime's own switches (<c>DOTNET_EnableAVX512=0</c>, <c>DOTNET_EnableAVX2=0</c>,
/// <c>DOTNET_EnableHWIntrinsic=0</c>: <c>IsSupported</c> is false then), for assembled kernels too, and <see cref="LanguageModelOptions.DisabledInstructionSets"/>.
/// </summary>
/// <param name="Avx2">256-bit integers and fused multiplication.</param>
/// <param name="AvxVnni">256-bit byte products (VEX encoding), which .NET knows.</param>
/// <param name="Avx512">AVX-512 F, BW, CD, DQ, VL.</param>
/// <param name="Avx512Vbmi">512-bit byte permutations.</param>
/// <param name="Avx512Vnni">512-bit byte products: assembled kernels only.</param>
/// <param name="Avx512Bf16">512-bit bfloat16 products: assembled kernels only.</param>
/// <param name="AmxInt8">Tiles of bytes: assembled kernels only.</param>
/// <param name="AmxBf16">Tiles of bfloat16: assembled kernels only.</param>
/// <param name="ArmDot">ARM byte products.</param>
internal sealed record Capabilities(bool Avx2, bool AvxVnni, bool Avx512, bool Avx512Vbmi, bool Avx512Vnni, bool Avx512Bf16, bool AmxInt8, bool AmxBf16, bool ArmDot)
{
    /// <summary>Portable vectors only.</summary>
    public static Capabilities None { get; } = new(false, false, false, false, false, false, false, false, false);

    /// <summary>What is there, less what the caller disabled.</summary>
    /// <param name="disabled">Names such as <c>AVX512</c>, <c>AVX512_VNNI</c>, <c>AVX512_BF16</c>, <c>AVX2</c>, <c>AVXVNNI</c>, <c>AMX</c>, in any case; null: none.</param>
    public static Capabilities Detect(IReadOnlyCollection<string>? disabled = null)
    {
        bool Allowed(params ReadOnlySpan<string> names)
        {
            foreach (string name in names)
                if (disabled?.Contains(name, StringComparer.OrdinalIgnoreCase) == true) return false;
            return true;
        }

        bool avx2 = System.Runtime.Intrinsics.X86.Avx2.IsSupported && Fma.IsSupported && Allowed("AVX2", "AVX");
        bool avx512 = avx2 && Avx512F.IsSupported && Avx512BW.IsSupported && Avx512DQ.IsSupported && Avx512F.VL.IsSupported && Allowed("AVX512", "AVX512F");
        (bool vnni512, bool bf16, bool amxInt8, bool amxBf16) = avx512 ? Leaf7() : default;
        bool amx = Allowed("AMX") && (amxInt8 || amxBf16) && TileState.Granted;
        return new Capabilities(
            Avx2: avx2,
            AvxVnni: avx2 && System.Runtime.Intrinsics.X86.AvxVnni.IsSupported && Allowed("AVXVNNI", "AVX_VNNI"),
            Avx512: avx512,
            Avx512Vbmi: avx512 && System.Runtime.Intrinsics.X86.Avx512Vbmi.IsSupported && Allowed("AVX512_VBMI", "AVX512VBMI"),
            Avx512Vnni: vnni512 && Allowed("AVX512_VNNI", "AVX512VNNI"),
            Avx512Bf16: bf16 && Allowed("AVX512_BF16", "AVX512BF16"),
            AmxInt8: amx && amxInt8 && Allowed("AMX_INT8"),
            AmxBf16: amx && amxBf16 && Allowed("AMX_BF16"),
            ArmDot: Dp.IsSupported && Allowed("DP", "DOTPROD"));
    }

    /// <summary>CPUID leaf 7 (Intel SDM vol. 2A, table 3-8); the operating system's part is vouched for by Avx512F.IsSupported, that of AMX by <see cref="TileState"/>.</summary>
    private static (bool Vnni, bool Bf16, bool AmxInt8, bool AmxBf16) Leaf7()
    {
        if (!X86Base.IsSupported || X86Base.CpuId(0, 0).Eax < 7) return default;
        (int subleaves, _, int ecx, int edx) = X86Base.CpuId(7, 0);
        int eax1 = subleaves >= 1 ? X86Base.CpuId(7, 1).Eax : 0;
        bool tiles = (edx >> 24 & 1) != 0;
        return ((ecx >> 11 & 1) != 0, (eax1 >> 5 & 1) != 0, tiles && (edx >> 25 & 1) != 0, tiles && (edx >> 22 & 1) != 0);
    }

    /// <summary>The instruction sets by name.</summary>
    public override string ToString()
    {
        List<string> names = [];
        void Add(bool has, string name)
        {
            if (has) names.Add(name);
        }

        Add(Avx2, "AVX2");
        Add(AvxVnni, "AVX-VNNI");
        Add(Avx512, "AVX-512");
        Add(Avx512Vbmi, "AVX-512 VBMI");
        Add(Avx512Vnni, "AVX-512 VNNI");
        Add(Avx512Bf16, "AVX-512 BF16");
        Add(AmxInt8, "AMX-INT8");
        Add(AmxBf16, "AMX-BF16");
        Add(ArmDot, "DP");
        return names.Count == 0 ? "portable vectors" : string.Join(", ", names);
    }
}
